"""Names a program may use without leaving a trace in its process, and names that could leave one.

Each known member of a module is a function, a class or a constant: nothing that can be changed in
place, that keeps what it is given, or that leads on to another module.
"""

from __future__ import annotations

import cmath
import itertools
import math

from .solution import SOLUTION_MODULES

__all__ = [
    *("BASES", "CONSTANT_CALLS", "DECORATORS", "HIDDEN_ATTRIBUTES", "INLINE_MEMBERS", "INLINE_MODULES"),
    *("MEMBERS", "METHODS", "READING_METHODS"),
    *("REFUSED_BUILTINS", "SOLUTIONS", "STARS", "TEST_MEMBERS", "words"),
]


def words(text: str) -> frozenset[str]:
    """The words of a text: long sets of names read better that way."""
    return frozenset(text.split())


_TYPING = (
    "Any AnyStr AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable ClassVar Collection Container "
    "Coroutine Counter DefaultDict Deque Dict Final FrozenSet Generator Generic Hashable Iterable Iterator "
    "List Literal Mapping MutableMapping MutableSequence MutableSet NamedTuple NewType NoReturn Optional "
    "OrderedDict Protocol Reversible Self Sequence Set Sized SupportsFloat SupportsIndex SupportsInt Text "
    "Tuple Type TypeAlias TypeVar TYPE_CHECKING Union final override"
)
_OPERATOR = (
    "add sub mul truediv floordiv mod neg pos pow xor and_ or_ not_ inv invert lshift rshift matmul abs lt "
    "le eq ne gt ge is_ is_not truth concat contains countOf indexOf getitem index itemgetter"
)
_STATISTICS = (
    "StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median "
    "median_grouped median_high median_low mode multimode pstdev pvariance quantiles stdev variance"
)
_DECIMAL = (
    "Decimal DecimalException DivisionByZero InvalidOperation Overflow ROUND_CEILING ROUND_DOWN ROUND_FLOOR "
    "ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP ROUND_05UP"
)
_RE = (
    "A ASCII DOTALL I IGNORECASE M MULTILINE Match Pattern S VERBOSE X compile error escape findall finditer "
    "fullmatch match search split sub subn"
)
_ABSTRACT = (
    "Callable Collection Container Generator Hashable Iterable Iterator Mapping MutableMapping "
    "MutableSequence MutableSet Reversible Sequence Set Sized"
)

MEMBERS: dict[str, frozenset[str]] = {
    **{
        module.__name__: frozenset(name for name in vars(module) if name[0] != "_")
        for module in (math, cmath, itertools)
    },
    **{
        module: words(members)
        for module, members in {
            "__future__": "annotations division print_function",
            "abc": "ABC abstractmethod",
            "ast": "literal_eval",
            "base64": "b16decode b16encode b32decode b32encode b64decode b64encode",
            "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
            "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
            "collections.abc": _ABSTRACT,
            "copy": "copy deepcopy",
            "dataclasses": "FrozenInstanceError dataclass field",
            "datetime": "MAXYEAR MINYEAR date datetime time timedelta timezone",
            "decimal": _DECIMAL,
            "fractions": "Fraction",
            "functools": "cache cmp_to_key lru_cache partial reduce total_ordering",
            "hashlib": "blake2b blake2s md5 sha1 sha224 sha256 sha384 sha3_256 sha3_512 sha512",
            "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
            "json": "JSONDecodeError dumps loads",
            "numbers": "Complex Integral Number Rational Real",
            "operator": _OPERATOR,
            "re": _RE,
            "statistics": _STATISTICS,
            "string": "ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits "
            "printable punctuation whitespace",
            "sys": "float_info hash_info int_info maxsize maxunicode setrecursionlimit version_info",
            "textwrap": "dedent fill indent shorten wrap",
            "typing": _TYPING,
            "unicodedata": "category combining decimal digit name normalize numeric",
        }.items()
    },
}
"""Module -> members a solution may use."""

_NUMPY = (
    "abs all allclose any arange array array_equal asarray bool_ e eye float32 float64 full inf int32 int64 "
    "isclose isinf isnan linspace mean nan ndarray ones pi round sqrt sum testing uint8 zeros"
)

SOLUTIONS = frozenset(SOLUTION_MODULES)
"""Names under which a test may import the solution."""

TEST_MEMBERS: dict[str, frozenset[str]] = {
    **MEMBERS,
    **{
        module: MEMBERS.get(module, frozenset()) | words(members)
        for module, members in {
            "collections": "UserDict UserList UserString",
            "contextlib": "closing contextmanager nullcontext redirect_stderr redirect_stdout suppress",
            "dataclasses": "asdict astuple fields is_dataclass replace",
            "enum": "Enum Flag IntEnum IntFlag auto unique",
            "functools": "cached_property partialmethod singledispatch wraps",
            "io": "BytesIO StringIO",
            "numpy": _NUMPY,
            "operator": "attrgetter delitem methodcaller setitem",
            "os": "linesep path sep",
            "random": "Random",
            "time": "monotonic perf_counter perf_counter_ns process_time sleep time time_ns",
            "timeit": "default_timer timeit",
            "types": "FunctionType GeneratorType LambdaType MappingProxyType MethodType SimpleNamespace",
            "typing": "NamedTuple TypedDict cast",
            "unittest": "SkipTest TestCase expectedFailure mock skip skipIf skipUnless",
            "unittest.mock": "ANY AsyncMock MagicMock Mock NonCallableMock PropertyMock call patch",
            "uuid": "UUID",
        }.items()
    },
    "sys": MEMBERS["sys"] - {"setrecursionlimit"} | {"platform", "stderr", "stdout", "version"},
}
"""Module -> members a test may use; it may keep what it likes in its own names, which go with it."""

STARS = words("math cmath itertools heapq bisect")
"""Modules of which every public name is a known member."""

DECORATORS = words(
    "abc.abstractmethod dataclasses.dataclass functools.total_ordering typing.final typing.override"
)
"""Members that mark what they are given, so only as decorators of something new."""

BASES = words("abc.ABC collections.OrderedDict typing.Generic typing.NamedTuple typing.Protocol")
"""Classes to inherit from; a subclass of str or int would be kept as a key by the caches of `re`."""

CONSTANT_CALLS = frozenset(f"math.{name}" for name in MEMBERS["math"]) | words(
    "re.compile collections.namedtuple typing.TypeVar typing.NewType decimal.Decimal fractions.Fraction "
    "datetime.date datetime.datetime datetime.time datetime.timedelta"
)
"""Members whose result for constants is a constant or a class of constants."""

READING_METHODS = words("get keys values items index count copy union issubset isdisjoint")
"""Methods of a list, set or dict that neither change it nor give it a second name."""

_METHODS = (
    "init post_init repr str format eq ne lt le gt ge hash bool len iter next reversed contains getitem "
    "setitem delitem missing call enter exit aiter anext await copy deepcopy int float complex index round "
    "trunc floor ceil neg pos abs invert add radd iadd sub rsub isub mul rmul imul matmul truediv rtruediv "
    "itruediv floordiv rfloordiv mod rmod divmod pow rpow and rand or ror xor rxor lshift rshift"
)
METHODS = frozenset(f"__{name}__" for name in _METHODS.split())
"""Special methods a class may have: none of them runs late, makes instances, or answers for names."""

REFUSED_BUILTINS = words(
    "exec eval compile globals vars locals open input breakpoint setattr delattr getattr id memoryview exit "
    "quit help license credits copyright"
)
"""Builtins that reach what is shared, or whose answer depends on what ran before."""

HIDDEN_ATTRIBUTES = words(
    "gi_frame gi_code gi_yieldfrom cr_frame cr_code cr_await ag_frame ag_code ag_await f_globals f_locals "
    "f_builtins f_back tb_frame tb_next fget fset fdel register _field_defaults"
)
"""Ways to a frame, a raw function or the tables of a class that are no dunder names."""

INLINE_MODULES: dict[str, str] = {
    module: reason
    for reason, modules in {
        "introspects code": "inspect dis doctest symtable trace bdb pdb",
        "pickles results": "pickle marshal shelve copyreg",
        "runs threads or processes": "multiprocessing subprocess pty threading _thread queue "
        "concurrent.futures",
        "looks at memory": "gc weakref tracemalloc resource faulthandler ctypes",
        "profiles the solution": "cProfile profile",
        "shares files": "tempfile shutil glob pathlib fileinput mmap zipfile tarfile sqlite3 dbm fcntl "
        "linecache",
        "shares sockets": "socket ssl select selectors socketserver http urllib.request xmlrpc smtplib "
        "ftplib",
        "changes the process": "signal atexit locale runpy site",
        "needs objects of one process": "array ipaddress uuid zoneinfo contextvars",
    }.items()
    for module in modules.split()
}
"""Standard modules of which any use needs test and solution in one process, and why."""

INLINE_MEMBERS: dict[str, str] = {
    member: reason
    for reason, members in {
        "seeds random numbers": "random.seed random.setstate numpy.random.seed",
        "changes limits": "sys.setrecursionlimit sys.set_int_max_str_digits",
        "traces calls": "sys.settrace sys.setprofile sys._getframe sys._current_frames",
        "looks at memory": "sys.getrefcount sys.getsizeof",
        "opens files": "io.open io.FileIO codecs.open builtins.open",
        "asks for exact types": "types.FunctionType types.LambdaType types.GeneratorType types.MethodType "
        "types.CodeType types.CoroutineType types.AsyncGeneratorType types.ModuleType",
        "introspects code": "typing.get_type_hints asyncio.iscoroutinefunction asyncio.iscoroutine",
        "introspects dataclasses": "dataclasses.fields dataclasses.asdict dataclasses.astuple "
        "dataclasses.replace dataclasses.is_dataclass",
        "sets the decimal context": "decimal.getcontext decimal.setcontext decimal.localcontext "
        "decimal.DefaultContext",
        "sets a numeric context": "numpy.seterr numpy.errstate",
        "captures log records": "logging.getLogger logging.basicConfig",
        "captures stderr": "contextlib.redirect_stderr",
        "reloads the solution": "importlib.reload",
        "changes the process": "time.tzset",
        "copies the solution's interface": "unittest.mock.create_autospec",
    }.items()
    for member in members.split()
}
"""Members of other modules that need test and solution in one process, and why."""
