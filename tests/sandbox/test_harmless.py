"""Which solutions may share a process with others, read from the syntax tree; nothing is executed here."""

from __future__ import annotations

import importlib
import textwrap
import types

import pytest

from coderm_sandbox.guest import harmless
from coderm_sandbox.guest.harmless import harmless_code
from coderm_sandbox.guest.known import MEMBERS

HARMLESS = {
    "function": "def f(x):\n    return x + 1",
    "typing": "from typing import List, Optional\ndef f(xs: List[int]) -> Optional[int]:\n    return max(xs)",
    "solution class": "class Solution:\n    def two(self, xs):\n        return self.one(xs) + 1\n"
    "    def one(self, xs):\n        return len(xs)",
    "own exception": "class Bad(ValueError):\n    pass\ndef f(x):\n    raise Bad('no')",
    "comprehensions": "def f(n):\n    return {i: [j for j in range(i)] for i in range(n)}, {x for x in 'ab'}",
    "modules": "import math, re\nfrom collections import Counter, defaultdict\nimport heapq as h\n"
    "def f(x):\n    h.heapify(x)\n    return math.sqrt(2), re.sub('a', 'b', 'c'), Counter(x)",
    "star": "from math import *\ndef f(x):\n    return floor(x)",
    "generator": "def f(n):\n    for i in range(n):\n        yield i",
    "try": "def f(x):\n    try:\n        return 1 / x\n    except TypeError as e:\n        return str(e)\n"
    "    except:\n        return 0\n    finally:\n        print(x)",
    "format of a text": "def f(x):\n    return '{:.2f} {} {0!r}'.format(x, x) + f'{x:>{3}}' + '%d' % x",
    "type is compared": "def f(x):\n    return type(x) == int or type(x) in (str, list)",
    "nested functions": "def f(n):\n    def g(k):\n        nonlocal n\n        n += k\n    return g(1)",
    "lambda and key": "def f(xs):\n    return sorted(xs, key=lambda x: -x)[::-1]",
    "main guard": "def f():\n    return 1\nif __name__ == '__main__':\n    print(f())",
    "flags that are written out": "import re\nfrom re import I, sub\nN = re.compile('a', re.I | re.M)\n"
    "def f(x):\n    return sub('a', 'b', x, 0, I), re.search('a', x, flags=re.A | 2), re.split('a', x)",
    "alias of typing": "from typing import List, TypeVar\nT = TypeVar('T')\nL = List[T]\n"
    "def f(x: L[int]) -> L:\n    y: L = [x]\n    return y",
    "subscripts": "def f(d):\n    d['a'] = [1]\n    del d['a'][0]\n    return d",
    "method of the class of a value": "def f(s):\n    return str.upper(s) + ''.join(map(str.strip, [s]))",
}

REFUSED = {
    "dunder attribute": "def f(x):\n    return x.__class__",
    "dunder name": "def f():\n    return __builtins__",
    "private attribute": "def f(x):\n    return x._y",
    "frame of a generator": "def f():\n    g = (i for i in [1])\n    return g.gi_frame",
    "own method opens no innards": "class A:\n    def gi_code(self):\n        pass\ndef f(g):\n    g.gi_code",
    "own method opens no submodule": "import collections\nclass A:\n    def abc(self):\n        pass\n"
    "def f():\n    return collections.abc",
    "traceback": "def f():\n    try:\n        g()\n    except Exception as e:\n        e.__traceback__",
    "exception's object": "def f():\n    try:\n        g()\n    except Exception as e:\n        return e.obj",
    "sets an attribute": "def f(x):\n    x.y = 1",
    "sets a method of a module": "import math\nmath.pi = 3",
    "deletes an attribute": "def f(x):\n    del x.y",
    "adds to an attribute": "def f(x):\n    x.count += 1",
    "attribute as a loop variable": "def f(x):\n    for x.count in [1]:\n        pass",
    "sets an attribute of itself": "class A:\n    def set(self, x):\n        self.x = x",
    "type as a value": "def f():\n    return type",
    "type of three": "def f():\n    return type('A', (), {'__eq__': 1}) == 1",
    "type of a star": "def f(a):\n    return type(*a) == 1",
    "type through an alias": "t = type\ndef f(x):\n    return t(x) == int",
    **{
        name: f"def f(x):\n    return {name}(x)"
        for name in (
            *("eval", "exec", "compile", "open", "input", "getattr", "setattr", "delattr", "vars", "globals"),
            *("locals", "dir", "id", "hash", "super", "memoryview", "bytearray", "property", "help", "exit"),
            *(
                "breakpoint",
                "__import__",
                "BaseException",
                "SystemExit",
                "KeyboardInterrupt",
                "GeneratorExit",
            ),
        )
    },
    **{
        f"import {module}": f"import {module}"
        for module in (
            *(
                "os",
                "sys",
                "builtins",
                "gc",
                "ctypes",
                "signal",
                "threading",
                "inspect",
                "types",
                "io",
                "json",
            ),
            *("random", "time", "datetime", "decimal", "dataclasses", "abc", "os.path", "collections.abc"),
            *(
                "importlib",
                "subprocess",
                "socket",
                "asyncio",
                "weakref",
                "contextlib",
                "unittest",
                "solution",
            ),
        )
    },
    "import from a module's innards": "from collections import _sys",
    "import a module of a module": "from typing import sys",
    "a module by another's name": "import typing\ndef f():\n    return typing.sys",
    "relative import": "from . import x",
    "star of a module with more": "from typing import *",
    "formatter": "import string\ndef f():\n    return string.Formatter",
    "format that looks inside": "def f(x):\n    return '{0.a}'.format(x)",
    "format that takes an element": "def f(x):\n    return '{0[a]}'.format(x)",
    "format with a field inside a field": "def f(x):\n    return '{:{}}'.format(x, x)",
    "format of a variable": "def f(s, x):\n    return s.format(x)",
    "format as a value": "def f(x):\n    return map('{}'.format, x), str.format",
    "format_map": "def f(s, x):\n    return s.format_map(x)",
    "getattr by operator": "import operator\ndef f(x):\n    return operator.attrgetter('a')(x)",
    "method by operator": "from operator import methodcaller",
    "named tuple": "from collections import namedtuple\nP = namedtuple('P', 'x')",
    "cache": "from functools import lru_cache\n@lru_cache(None)\ndef f(x):\n    return x",
    "special method": "class A:\n    def __eq__(self, other):\n        return True",
    "constructor": "class A:\n    def __init__(self):\n        pass",
    "destructor": "class A:\n    def __del__(self):\n        pass",
    "special name as a class attribute": "class A:\n    __slots__ = ()",
    "metaclass": "class A(metaclass=M):\n    pass",
    "class of a built-in": "class A(list):\n    pass",
    "class of a call": "class A(f()):\n    pass",
    "decorated class": "@f\nclass A:\n    pass",
    "match": "def f(x):\n    match x:\n        case int(real=r):\n            return r",
    "with": "def f(x):\n    with x as y:\n        return y",
    "async": "async def f(x):\n    return x",
    **{
        f"flags of re that may be 0.0: {call}": f"import re\ndef f(x, *y):\n    return {call}"
        for call in (
            *("re.compile('a', 0.0)", "re.sub('a', 'b', x, 0, y)", "re.search('a', x, flags=0 / 1)"),
            *("re.match(*y)", "re.split('a', *y)", "re.findall('a', **y)", "map(re.compile, 'a', y)"),
        )
    },
    "form of typing by another name": "from typing import List\nL = List\ndef f(x):\n    return L[x]",
    "form of typing in a text": "from typing import List\nN = f'{List[0.0]}'\ndef f(x):\n    return N",
    "form of typing by two names": "import typing\nL = typing.List\nM = (L,)\ndef f(x):\n    return M[0][x]",
    "form of typing as a default": "import typing\ndef f(x, L=typing.List):\n    return L[x]",
    "form of typing in a class": "import typing\nclass A:\n    L = typing.List",
    "global counter": "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
    "mutable default": "def f(x, seen=[]):\n    seen.append(x)\n    return seen",
    "parameter with a special name": "def f(__class__):\n    return 1",
    "exception with a special name": "try:\n    f()\nexcept Exception as __spec__:\n    pass",
    "import under a special name": "import math as __builtins__",
    "global with a special name": "def f():\n    global __builtins__\n    x = 1",
    "too long": "x = 1\n" * 4000,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name: str) -> None:
    assert harmless_code(HARMLESS[name]) is not None


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    assert harmless_code(REFUSED[name]) is None


@pytest.mark.parametrize("text", ["def f(:", "x = '\0'", "  x = 1\ny"])
def test_what_is_no_program_is_told_apart(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        harmless_code(text)


def test_what_is_too_deep_is_refused() -> None:
    assert harmless_code("x = " + "-" * 3000 + "1") is None


def test_no_allowed_attribute_leads_out_of_a_module() -> None:
    allowed = harmless._METHODS | harmless._MEMBERS
    for name in harmless.MODULES:
        module = importlib.import_module(name)
        for attribute in allowed & set(dir(module)):
            assert not isinstance(getattr(module, attribute), types.ModuleType), (name, attribute)


def test_the_modules_are_there_before_any_solution() -> None:
    code = textwrap.dedent(
        """
        import importlib, sys
        role = importlib.import_module("coderm_sandbox.guest.playerzygote")
        for name in role.PRELOAD:
            importlib.import_module(name)
        print(*sys.modules)
        """
    )
    import subprocess
    import sys

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(found.split()) >= harmless.MODULES


def test_every_module_has_known_members() -> None:
    assert set(MEMBERS) >= harmless.MODULES
