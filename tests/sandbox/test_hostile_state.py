"""Programs that answer rightly once and wrongly ever after, or the other way round.

The verdict of every test is that of a fresh process, however well the memory between calls is hidden:
from a reader of the source, from a fork, and from whoever empties scratch. test_independence.py has
the places outside Python's own objects.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Outcome

# Each defines `count()`: how often it was called in this process, this time included.
COUNTERS = {
    "closure": """
        def make():
            n = 0
            def count():
                nonlocal n
                n += 1
                return n
            return count
        count = make()
    """,
    "list-in-a-closure": """
        def make(seen):
            return lambda: seen.append(0) or len(seen)
        count = make([])
    """,
    "keyword-default": "def count(*, seen={}):\n    seen[len(seen)] = 0\n    return len(seen)",
    "default-of-a-lambda": "count = lambda seen=[]: seen.append(0) or len(seen)",
    "function-attribute": "def count():\n    count.n = getattr(count, 'n', 0) + 1\n    return count.n",
    "lru-cache": """
        import functools
        @functools.lru_cache(maxsize=None)
        def cached(n): ...
        def count():
            cached(cached.cache_info().misses)
            return cached.cache_info().misses
    """,
    "cached-property": """
        import functools
        class C:
            @functools.cached_property
            def seen(self):
                return []
        c = C()
        def count():
            c.seen.append(0)
            return len(c.seen)
    """,
    "class-attribute": "class C:\n    n = 0\ndef count():\n    C.n += 1\n    return C.n",
    "class-method": """
        class C:
            n = 0
            @classmethod
            def count(cls):
                cls.n += 1
                return cls.n
        count = C.count
    """,
    "bound-method": """
        class C:
            def __init__(self):
                self.n = 0
            def count(self):
                self.n += 1
                return self.n
        count = C().count
    """,
    "callable-object": """
        class C:
            def __call__(self):
                self.__dict__["n"] = self.__dict__.get("n", 0) + 1
                return self.n
        count = C()
    """,
    "metaclass": """
        class M(type):
            made = 0
            def __call__(cls):
                M.made += 1
                return super().__call__()
        class C(metaclass=M): ...
        def count():
            C()
            return M.made
    """,
    "descriptor": """
        class D:
            n = 0
            def __get__(self, instance, owner):
                D.n += 1
                return D.n
        class C:
            n = D()
        def count():
            return C.n
    """,
    "iterator": "import itertools\nnumbers = itertools.count(1)\ndef count():\n    return next(numbers)",
    "generator": "numbers = (n for n in range(1, 99))\ndef count():\n    return next(numbers)",
    "suspended-generator": """
        def run():
            n = 0
            while True:
                n += 1
                yield n
        count = run().__next__
    """,
    "enumeration": "pairs = enumerate('abcdefgh', 1)\ndef count():\n    return next(pairs)[0]",
    "bound-append": "seen = []\nnote = seen.append\ndef count():\n    note(0)\n    return len(seen)",
    "partial": "import functools\ncount = functools.partial(lambda s: s.append(0) or len(s), [])",
    "setattr-on-the-module": """
        import sys
        def count():
            module = sys.modules[__name__]
            setattr(module, "n", getattr(module, "n", 0) + 1)
            return getattr(module, "n")
    """,
    "globals": "def count():\n    globals()['n'] = globals().get('n', 0) + 1\n    return globals()['n']",
    "exec": "n = 0\ndef count():\n    exec('n += 1', globals())\n    return n",
    "decorator": """
        def counted(function):
            calls = [0]
            def call():
                calls[0] += 1
                return calls[0]
            return call
        @counted
        def count(): ...
    """,
    "context-variable": """
        import contextvars
        n = contextvars.ContextVar("n", default=0)
        def count():
            n.set(n.get() + 1)
            return n.get()
    """,
    "random-state": """
        import random
        random.seed(7)
        draws = [random.random() for _ in range(20)]
        random.seed(7)
        def count():
            return draws.index(random.random()) + 1
    """,
    "own-random-state": """
        import random
        own = random.Random(7)
        draws = [own.random() for _ in range(20)]
        own.seed(7)
        def count():
            return draws.index(own.random()) + 1
    """,
    "order-of-a-constant": """
        TABLE = list(range(1, 20))
        def count():
            TABLE.append(TABLE.pop(0))
            return TABLE[-1]
    """,
    "array": "import array\nn = array.array('i', [0])\ndef count():\n    n[0] += 1\n    return n[0]",
    "c-number": "import ctypes\nn = ctypes.c_int()\ndef count():\n    n.value += 1\n    return n.value",
    "weak-reference": """
        import weakref
        class C: ...
        known = weakref.WeakValueDictionary()
        kept = []
        def count():
            kept.append(C())
            known[len(kept)] = kept[-1]
            return len(known)
    """,
    "other-module": """
        import string
        def count():
            string.calls = vars(string).get("calls", 0) + 1
            return string.calls
    """,
    "builtins": """
        import builtins
        def count():
            builtins.calls = vars(builtins).get("calls", 0) + 1
            return calls
    """,
    "exception": """
        error = ValueError()
        def count():
            error.args += (0,)
            return len(error.args)
    """,
    "logger": """
        import logging
        class Seen(logging.Handler):
            n = 0
            def emit(self, record):
                Seen.n += 1
        logging.getLogger("x").addHandler(Seen())
        def count():
            logging.getLogger("x").warning("again")
            return Seen.n
    """,
    "abstract-registry": """
        import abc
        class A(abc.ABC): ...
        kinds = [type("K", (), {}) for _ in range(20)]
        def count():
            known = sum(issubclass(kind, A) for kind in kinds)
            A.register(kinds[known])
            return known + 1
    """,
    "single-dispatch": """
        import functools
        @functools.singledispatch
        def dispatch(x): ...
        def count():
            dispatch.register(type("K", (), {}), dispatch)
            return len(dispatch.registry) - 1
    """,
    "regular-expression-cache": """
        import re
        re.purge()
        def count():
            re.compile("a" * (len(re._cache) + 1))
            return len(re._cache)
    """,
    "finalizer": """
        class C:
            n = 0
            def __del__(self):
                C.n += 1
        def count():
            C()
            return C.n
    """,
    "soft-limit": """
        import resource
        start = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        def count():
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
            return start - soft + 1
    """,
    "umask": """
        import os
        os.umask(0)
        def count():
            n = os.umask(0) + 1
            os.umask(n)
            return n
    """,
}


@pytest.mark.parametrize("name", COUNTERS)
def test_every_test_begins_to_count_anew(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"{textwrap.dedent(COUNTERS[name])}\ndef f(x):\n    return x + (count() == 1)\n"
    results = sandbox.run(solution, *[method("self.assertEqual([f(1), f(1)], [2, 1])")] * 3)
    assert [(result.outcome, result.detail) for result in results] == [(Outcome.PASS, "")] * 3


@pytest.mark.parametrize("name", COUNTERS)
def test_right_only_from_the_second_on(sandbox: Any, method: Callable[..., str], name: str) -> None:
    solution = f"{textwrap.dedent(COUNTERS[name])}\ndef f(x):\n    return x + (count() > 1)\n"
    texts = [method("self.assertEqual(f(1), 2)"), method("self.assertEqual(f(2), 3)")]
    results = [*sandbox.run(solution, *texts), *sandbox.run(solution, *texts)]
    assert [result.outcome for result in results] == [Outcome.FAIL] * 4
