"""What may share a process, read from the syntax tree: solutions, and tests that leave nothing behind.

Everything here is parsed and never executed.
"""

from __future__ import annotations

import ast
import copy
import importlib
import textwrap
import types

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coderm_sandbox.guest import known, modes, stateless


def programs(table: str) -> dict[str, str]:
    """The programs under headings `## name`."""
    return dict(part.split("\n", 1) for part in table.split("\n## ")[1:])


def solution(text: str) -> bool:
    return stateless.solution_is_stateless(ast.parse(textwrap.dedent(text)))


def traceless(text: str) -> bool:
    return stateless.test_is_traceless(ast.parse(textwrap.dedent(text)))


HONEST = programs(
    r'''
## one-function
def f(x):
    return x + 1
## docstring-and-annotations
from typing import List, Optional
def f(xs: List[int], k: Optional[int] = None) -> List[int]:
    """Doc."""
    out: List[int] = []
    for x in xs:
        out.append(x)
    return out
## helpers-and-recursion
def g(n):
    return 1 if n < 2 else n * g(n - 1)
def f(n):
    return [g(i) for i in range(n)]
## nested-function-with-nonlocal
def f(n):
    count = 0
    def step():
        nonlocal count
        count += 1
        return count
    return [step() for _ in range(n)]
## constants
MOD = 10 ** 9 + 7
INF = float('inf')
VOWELS = ('a', 'e')
def f(x):
    return x % MOD
## constant-set-that-is-read
VOWELS = set('aeiou')
def f(s):
    return sum(c in VOWELS for c in s)
## constant-dict-that-is-read
ROMAN = {"I": 1, "V": 5}
def f(s):
    return sum(ROMAN[c] for c in s) + ROMAN.get("X", 0) + len(ROMAN) + max(ROMAN.values())
## constant-list-beside-a-shadowed-builtin
VOWELS = ["a", "e"]
def f(s):
    sum = 0
    for c in s:
        sum += c in VOWELS
    return sum + len(VOWELS)
## table-of-functions
def a(x): return x
OPS = {'a': a, 'b': lambda x: -x}
def f(k, x): return OPS[k](x)
## list-that-is-iterated
STEPS = [(0, 1), (1, 0)]
def f(x, y):
    return [(x + i, y + j) for i, j in STEPS]
## words-that-are-joined
WORDS = 'a b c'.split()
def f():
    return ' '.join(WORDS) + WORDS[0]
## compiled-pattern
import re
WORD = re.compile(r'\w+')
def f(s):
    return WORD.findall(s) or re.split(',', s)
## std-functions
import math, heapq, itertools, functools, collections
from collections import Counter, defaultdict, deque
from bisect import bisect_left
def f(xs):
    heap = list(xs)
    heapq.heapify(heap)
    d = defaultdict(list)
    d[len(xs)].append(math.sqrt(4))
    return Counter(xs), deque(xs), functools.reduce(lambda a, b: a + b, xs), bisect_left(xs, 1)
## copies-of-lists
import copy
def f(xs): return copy.deepcopy(xs) + copy.copy(xs)
## star-of-math
from math import *
def f(x):
    return sqrt(x) + pi
## cache-inside-a-function
from functools import lru_cache
def f(n):
    @lru_cache(maxsize=None)
    def fib(k):
        return k if k < 2 else fib(k - 1) + fib(k - 2)
    return fib(n)
## recursion-limit-at-module-level
import sys
sys.setrecursionlimit(10 ** 6)
def f(n):
    return sys.maxsize - n
## leetcode-class
from typing import List
class Solution:
    def run(self, nums: List[int]) -> int:
        self.best = 0
        def walk(i):
            if i < len(nums):
                self.best = max(self.best, nums[i])
                walk(i + 1)
        walk(0)
        return self.best
## stack
class Stack:
    def __init__(self):
        self.items = []
    def push(self, x):
        self.items.append(x)
        self.top = x
    def __len__(self):
        return len(self.items)
def f(xs):
    s = Stack()
    for x in xs:
        s.push(x)
    return len(s)
## linked-list-of-own-nodes
class Node:
    def __init__(self, value, next=None):
        self.value, self.next = value, next
def f(xs):
    head = None
    for x in xs:
        node = Node(x)
        node.next = head
        head = node
    return head
## inheritance-and-super
class Shape:
    SIDES = 0
    def __init__(self, name): self.name = name
    def area(self): raise NotImplementedError
class Square(Shape):
    SIDES = 4
    def __init__(self, side):
        super().__init__("square")
        self.side = side
    def area(self): return self.side ** 2
class Old(Shape):
    def __init__(self): Shape.__init__(self, "old")
## vector-that-returns-its-class
class V:
    def __init__(self, x): self.x = x
    def __add__(self, other): return self.__class__(self.x + other.x)
    def __repr__(self): return f"{self.__class__.__name__}({self.x})"
    def __eq__(self, other): return isinstance(other, V) and self.x == other.x
## own-exceptions
class Bad(ValueError):
    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code
def f(x):
    try:
        if x < 0:
            raise Bad(x)
    except Bad as error:
        raise ValueError("no") from error
    finally:
        print("done")
    return x
## property-and-setter
class T:
    def __init__(self): self._c = 0
    @property
    def c(self): return self._c
    @c.setter
    def c(self, v): self._c = v
    @staticmethod
    def g(x): return x
    @classmethod
    def make(cls): return cls()
## dataclass
from dataclasses import dataclass, field
@dataclass(frozen=True)
class P:
    x: int
    y: int = 0
    tags: list = field(default_factory=list)
def f(): return P(1, 2)
## named-tuples
from collections import namedtuple
from typing import NamedTuple
P = namedtuple("P", ["x", "y"])
class Q(NamedTuple):
    x: int = 0
def f(): return P(1, 2)._replace(x=3), Q()
## private-names
class A:
    def __init__(self): self.__hidden = 0
    def _step(self): self.__hidden += 1
    def run(self):
        self._step()
        return self.__hidden
## abstract
from abc import ABC, abstractmethod
class A(ABC):
    @abstractmethod
    def f(self): ...
## type-is-compared
def f(x):
    if type(x) == int or type(x) in (str, list) or type(x) is dict:
        return type(x).__name__
## type-in-a-message
def f(x):
    raise TypeError(f'got {type(x)}' + 'or {}'.format(type(x)) + 'or %s' % type(x))
## generator
def f(n):
    for i in range(n):
        yield i
## async
async def g(x): return x
async def f(x): return await g(x)
## match-and-walrus
def f(x):
    match x:
        case [a, *rest] if (n := len(rest)): return a + n
        case {"k": v, **others}: return v
        case str() | int() as y: return y
        case _: return None
## shadowed-builtins
def f(input, open, type, id, vars):
    list = [input, open]
    eval = 3
    return list, type, id, eval
## main-guard
def f(x): return x
if __name__ == '__main__':
    cache = {}
    cache[input()] = open('x')
    import os; os.x = 1
## examples-at-the-end
def f(x): return x
assert f(1) == 1
print(f(2))
cases = [[1, 2], [3]]
print(f(cases))
## unused-imports
import os, sys, random, time, threading
import numpy as np
def f(x): return x
## undefined-names
def f(x): return helper(x) + CONSTANT
## sort-keys
from operator import itemgetter
def f(xs): return sorted(xs, key=itemgetter(1)), sorted(xs, key=lambda x: -x)
## local-module-alias-shadowed
import string
def f(string): return string[::-1]
## class-constants-that-are-read
class S:
    MAP = {'a': 1}
    def f(self, c): return self.MAP[c] if c in self.MAP else self.MAP.get(c)
## type-alias-and-typevar
from typing import Dict, Generic, List, TypeVar
T = TypeVar('T')
Graph = Dict[int, List[int]]
class Box(Generic[T]):
    def __init__(self, x: T) -> None: self.x = x
def f(g: Graph) -> int: return len(g)
## special-method-by-name
def f(x): return x.__len__()
## methods-named-like-builtins
class File:
    def open(self): self.state = 'open'
    def id(self): return 1
## two-underscores-as-text
def f(s):
    return s.replace('__', '_') if __debug__ else s
## mutable-default-of-a-nested-function
def f(n):
    def g(k, seen=[]):
        seen.append(k)
        return seen
    return g(n), g(n)
'''
)

# Each of these can answer differently from the second call on, or is one step away from it.
STATEFUL = programs(
    r"""
## global-counter
n = 0
def f():
    global n
    n += 1
    return n
## global-name-made-by-a-call
def f():
    global n
    n = 1
## mutable-default
def f(x, seen=[]):
    seen.append(x)
    return seen
## mutable-keyword-default
def f(x, *, seen={}):
    seen[x] = 1
## default-made-by-a-call
def make(): return []
def f(x, seen=make()): ...
## default-that-is-an-iterator
def f(it=iter(range(9))):
    return next(it)
## default-of-a-lambda
f = lambda x, seen=[]: seen.append(x) or len(seen)
## default-of-a-method
class A:
    def f(self, seen=[]): seen.append(1)
## default-that-is-an-object
class A:
    def __init__(self): self.n = 0
def f(a=A()):
    return a
## module-list
seen = []
def f(x):
    seen.append(x)
    return len(seen)
## module-dict-as-a-memo
memo = {}
def f(n):
    if n not in memo:
        memo[n] = n
    return memo[n]
## module-list-deleted-from
xs = [1, 2, 3]
def f():
    del xs[0]
## module-list-changed-by-slice
xs = [1, 2, 3]
def f():
    xs[:] = []
## module-list-changed-in-a-loop-target
xs = [0]
def f():
    for xs[0] in range(3): pass
    return xs[0]
## module-list-under-a-local-name
xs = [1]
def f():
    ys = xs
    ys.append(1)
    return len(ys)
## module-list-returned-and-changed
xs = [1]
def g(): return xs
def f():
    g().append(1)
    return len(xs)
## module-list-handed-to-a-helper
xs = [1]
def g(l): l.append(1)
def f():
    g(xs)
    return len(xs)
## module-list-changed-by-a-std-function
import heapq
xs = [1]
def f():
    heapq.heappush(xs, 1)
    return len(xs)
## module-list-changed-by-an-unbound-method
xs = [1]
def f():
    list.append(xs, 1)
    return len(xs)
## module-list-seen-by-eq
xs = [1]
class A:
    def __eq__(self, other):
        other.append(1)
        return len(other) > 2
def f(): return xs == A()
## module-list-caught-by-match
xs = [1]
def f():
    match xs:
        case ys: ys.append(1)
    return len(xs)
## module-list-through-min
xs = [1]
def f():
    min(xs, [9]).append(1)
    return len(xs)
## module-list-through-sum
xs = [1]
def f():
    sum([], xs).append(1)
    return len(xs)
## module-list-through-a-shadowed-builtin
xs = [1]
def len(l):
    l.append(1)
    return l
def f(): return len(xs)[-1]
## module-list-through-a-local-builtin
xs = [1]
def f():
    sorted = lambda l: l.append(1) or l
    return len(sorted(xs))
## module-list-through-or
xs = [1]
def f():
    (xs or []).append(1)
    return len(xs)
## nested-list-that-is-read
grid = [[0]]
def f():
    grid[0].append(1)
    return len(grid[0])
## dict-of-lists
d = {'a': []}
def f():
    for v in d.values():
        v.append(1)
    return len(v)
## list-in-a-tuple
t = ([],)
def f():
    t[0].append(1)
    return len(t[0])
## list-filled-with-an-iterator-at-load
xs = [0]
xs.append(iter(range(9)))
def f(): return next(xs[1])
## list-through-max-at-load
xs = max([1], [2])
def f():
    xs.append(1)
    return len(xs)
## iterator
it = iter(range(9))
def f(): return next(it)
## generator-object
def gen():
    yield 1
    yield 2
g = gen()
def f(): return next(g)
## generator-expression
g = (i for i in range(9))
def f(): return next(g)
## count-of-itertools
import itertools
c = itertools.count()
def f(): return next(c)
## closure-as-the-entry-point
def make():
    n = 0
    def g():
        nonlocal n
        n += 1
        return n
    return g
f = make()
## bound-method-of-a-hidden-list
add = [].append
def f(): return add(1)
## partial-with-a-list
from functools import partial
def g(l): l.append(1); return len(l)
f = partial(g, [])
## module-level-instance
class A:
    def __init__(self): self.n = 0
    def f(self): self.n += 1; return self.n
a = A()
def f(): return a.f()
## callable-instance
class A:
    n = 0
    def __call__(self): self.n += 1; return self.n
f = A()
## walrus-at-module-level
print(xs := [])
def f():
    xs.append(1)
    return len(xs)
## loop-variable-at-module-level
for xs in ([],): pass
def f():
    xs.append(1)
    return len(xs)
## with-target-at-module-level
class C:
    def __enter__(self): return []
    def __exit__(self, *a): ...
with C() as xs: pass
def f(): xs.append(1)
## function-attribute
def f():
    f.n = getattr(f, 'n', 0) + 1
    return f.n
## function-attribute-through-a-local
def g(): ...
def f():
    h = g
    h.n = 1
## function-attribute-through-a-parameter
def f(g):
    g.n = 1
## function-attribute-by-augmented-assignment
def f():
    f.n += 1
    return f.n
f.n = 0
## function-attribute-as-a-loop-target
def f():
    for f.n in range(3): pass
## function-attribute-deleted
def f():
    del f.n
## setattr
def f():
    setattr(f, 'n', 1)
## defaults-rewritten
def g(x=0): return x
def f():
    g.__defaults__ = (g() + 1,)
    return g()
## code-rewritten
def g(): return 1
def h(): return 2
def f():
    g.__code__ = h.__code__
## globals-through-a-function
n = 0
def f():
    f.__globals__['n'] += 1
    return n
## globals-through-a-frame
n = 0
def g(): yield
def f():
    g().gi_frame.f_globals['n'] = n + 1
    return n
## globals-through-a-traceback
def f():
    try: 1 / 0
    except Exception as e: e.__traceback__.tb_frame.f_globals['n'] = 1
## globals-builtin
n = 0
def f():
    globals()['n'] += 1
    return n
## exec
n = 0
def f():
    exec('global n; n += 1')
    return n
## eval-under-another-name
e = eval
def f(): return e('1')
## getattr
def f(x): return getattr(x, 'n')
## class-attribute
class A:
    n = 0
def f():
    A.n += 1
    return A.n
## class-attribute-through-cls
class A:
    n = 0
    @classmethod
    def f(cls):
        cls.n += 1
        return cls.n
## class-attribute-through-type-of-self
class A:
    n = 0
    def f(self):
        type(self).n += 1
## class-attribute-through-class-of-self
class A:
    n = 0
    def f(self):
        self.__class__.n += 1
## class-list
class A:
    items = []
    def f(self):
        self.items.append(1)
        return len(self.items)
## class-list-by-augmented-assignment
class A:
    items = []
    def f(self):
        self.items += [1]
        return len(self.items)
## class-list-under-a-local-name
class A:
    items = [0]
    def f(self):
        x = self.items
        x[0] += 1
        return x
## class-list-caught-by-match
class A:
    items = []
    def f(self):
        match self:
            case A(items=x): x.append(1)
        return len(x)
## class-list-in-a-named-tuple
from typing import NamedTuple
class P(NamedTuple):
    x: list = []
def f():
    (x,) = P()
    x.append(1)
    return len(x)
## class-dict-of-lists
class A:
    d = {'a': []}
    def f(self): return self.d['a']
## class-iterator
class A:
    ids = iter(range(9))
    def f(self): return next(self.ids)
## class-object
class B: ...
class A:
    b = B()
## list-in-the-defaults-of-a-base
from collections import namedtuple
class P(namedtuple('P', 'x', defaults=[[]])): ...
def f():
    P().x.append(1)
## instance-as-a-base
class A:
    def __init__(self, *a): self.n = 0
    def f(self): self.n += 1
class B(A()): ...
## raw-method-with-its-class-for-self
class A:
    n = 0
    def f(self):
        self.n += 1
        return self.n
def f(): return A.f(A)
## raw-method-with-a-function-for-self
class A:
    def f(self): self.n = 1
def g(): ...
def f(): A.f(g)
## raw-method-through-a-local-class-name
class A:
    def f(self): self.n = 1
def f():
    k = A
    k.f(k)
## raw-method-through-a-container
class A:
    def f(self): self.n = 1
def f():
    for k in [A]: k.f(k)
## raw-method-through-cls
class A:
    def f(self): self.n = 1
    @classmethod
    def g(cls):
        k = cls
        k.f(k)
## raw-method-through-the-arguments-of-a-class-method
class A:
    def f(self): self.n = 1
    @classmethod
    def g(*a): a[0].f(a[0])
## raw-method-through-exit
class E(Exception):
    def f(self): self.n = 1
class C:
    def __enter__(self): ...
    def __exit__(self, kind, e, tb):
        kind.f(kind)
        return True
def f():
    with C(): raise E
## raw-method-through-an-attribute-error
class A:
    def f(self): self.n = 1
def f():
    try: A.nothing
    except AttributeError as e: e.obj.f(e.obj)
## raw-method-through-mro
class A:
    def f(self): self.n = 1
def f():
    for k in A.mro()[:1]: k.f(k)
## raw-method-through-eq
class A:
    def f(self): self.n = 1
class B:
    def __eq__(self, k): k.f(k)
def f(): return A == B()
## raw-method-through-isinstance
class A:
    def f(self): self.n = 1
def isinstance(x, k): k.f(k)
def f(): return isinstance(1, A)
## raw-method-through-a-property
class A:
    @property
    def p(self):
        self.n = 1
def f(): A.p.fget(A)
## raw-method-as-a-default
class A:
    def f(self): self.n = 1
    def g(self, h=f): h(A)
## raw-method-under-another-name
class A:
    def f(self): self.n = 1
    g = f
def f(): A.g(A)
## raw-method-through-a-decorator
def apply(m):
    m(len_of)
def len_of(): ...
def f():
    class A:
        @apply
        def f(self): self.n = 1
## raw-method-of-a-local-class
class A:
    def f(self): self.n = 1
def f():
    class B(A): ...
    B.f(B)
## raw-method-through-super-in-a-class-method
class A:
    def __init__(self): self.n = 1
class B(A):
    @classmethod
    def f(cls): super().__init__(cls)
## raw-method-by-name-mangling
class A:
    def __f(self): self.n = 1
def f(): A._A__f(A)
## raw-method-by-methodcaller
from operator import methodcaller
class A:
    def f(self): self.n = 1
def f(): methodcaller('f', A)(A)
## self-rebound
class A:
    def f(self):
        self = A
        self.n = 1
## self-rebound-by-a-nested-function
class A:
    def f(self):
        def g():
            nonlocal self
            self = A
        g()
        self.n = 1
## self-of-a-nested-function
class A:
    def f(self):
        def g(self): self.n = 1
        g(A)
## self-of-a-plain-function
class A: ...
def f(self):
    self.n = 1
## self-of-a-static-method
class A:
    @staticmethod
    def f(self): self.n = 1
## attribute-of-an-attribute
def g(): ...
class A:
    def f(self):
        self.g = g
        self.g.n = 1
## attribute-of-a-name-made-once-and-bound-again
class A: ...
def f():
    x = A()
    x = A
    x.n = 1
## attribute-of-a-parameter-made-later
class A: ...
def f(x):
    x.n = 1
    x = A()
## attribute-of-what-a-function-made
def g(): ...
def A(): return g
def f():
    x = A()
    x.n = 1
## attribute-of-what-a-shadowed-class-made
class A: ...
def g(): ...
def f(A=lambda: g):
    x = A()
    x.n = 1
## type-with-three-arguments
def f(g): return type('K', (), {'a': g})
## type-of-type
def f():
    t = type(type(1))
    return t('K', (), {})
## new
class A:
    one = None
    def __new__(cls): return object()
## del-method
class A:
    def __del__(self): print('late')
## getattr-method
class A:
    def __getattr__(self, name): return 1
## reduce-method-with-copy
import copy
def g(): ...
class A:
    def __reduce__(self): return (lambda: g, (), {'n': 1})
def f(): copy.copy(A())
## mark-that-copy-leaves-on-a-class
import copy
class A: ...
def f():
    copy.copy(A())
    return ("{0._" + "_slotnames__}").format(A)
## init-subclass
class A:
    def __init_subclass__(cls): cls.n = 1
## match-args
class A:
    items = []
    __match_args__ = ('items',)
## metaclass
class M(type): ...
class A(metaclass=M): ...
## enum
from enum import Enum
class C(Enum):
    A = 1
    def f(self): self.n = 1
## str-subclass-in-the-cache-of-re
import re
class S(str):
    def __eq__(self, other): self.n = 1
    def __hash__(self): return 1
def f(): re.compile(S('a'))
## flags-object-in-the-cache-of-re
import re
class F:
    def __and__(self, o): return 0
    def __hash__(self): return 1
    def __eq__(self, o): self.n = 1
def f(): re.compile('a', F())
## str-subclass-through-an-alias
T = str
class S(T): ...
## str-subclass-through-a-class-attribute
class A:
    T = str
class S(A.T): ...
## object-in-the-cache-of-typing
from typing import Literal
class A: ...
def f(): return Literal[A()]
## object-in-the-cache-of-typing-by-annotation
from typing import Literal
def f(o):
    def g(x: Literal[o]): ...
## registered-with-an-abc
from collections.abc import Sized
class A: ...
def f(x):
    Sized.register(A)
    return isinstance(x, Sized)
## class-decorated-when-called
from dataclasses import dataclass
class A:
    x: int = 0
def f():
    r = A() == A()
    dataclass(A)
    return r
## lru-cache
from functools import lru_cache
@lru_cache(None)
def f(n): return []
## cache-attribute
import functools
@functools.cache
def f(n): return []
## cache-on-a-method
import functools
class A:
    @functools.lru_cache
    def f(self, n): return []
## own-decorator
def d(g):
    seen = []
    return lambda x: seen.append(x) or len(seen)
@d
def f(x): return x
## own-class-as-a-decorator
class D:
    def __init__(self, g): self.n = 0
    def __call__(self): self.n += 1; return self.n
@D
def f(): ...
## module-attribute
import math
def f():
    math.n = 1
## module-under-a-local-name
import math
def f():
    m = math
    m.n = 1
## module-inside-a-module
import re
def f(): return re.copyreg.dispatch_table
## module-table-by-subscript
import sys
def f():
    sys.modules['n'] = sys
## module-from-a-module
from collections import abc
def f():
    a = abc
    a.n = 1
## module-imported-when-called
def f():
    import this
## module-in-two-ways
import math
math = 3
def f(): return math
## module-or-another
try:
    import json
except ImportError:
    import simplejson as json
def f(x): return json.dumps(x)
## os-environ
import os
def f():
    os.environ['n'] = '1'
## random
import random
def f():
    random.seed(1)
    return random.random()
## imported-as-the-entry-point
from random import random as f
## imported-from-a-package
from .helpers import f
## star-import
from random import *
def f(): return randint(1, 2)
## decimal-context
from decimal import getcontext
def f():
    getcontext().prec += 1
## recursion-limit-under-another-name
import sys
limit = sys.setrecursionlimit
def f(): limit(50)
## recursion-limit-when-called
import sys
def f():
    sys.setrecursionlimit(50)
## open
def f():
    open('/tmp/n', 'a').write('x')
## input
def f(): return input()
## exit-closes-stdin
def f():
    exit()
## thread
import threading
def f():
    threading.Thread(target=print).start()
## time-since-load
from datetime import datetime
START = datetime.now()
def f(): return (datetime.now() - START).seconds
## time-as-a-default
import datetime
def f(at=datetime.datetime.now()): return at
## addresses
def f(): return id(object())
## builtins-module
import builtins
def f():
    builtins.n = 1
## builtins-name
def f():
    __builtins__['n'] = 1
## name-of-the-module
__name__ = '__main__'
if __name__ == '__main__':
    xs = []
def f(): xs.append(1)
## module-getattr
def __getattr__(name): return 1
## dunder-text
def f(x): return vars_of(x, '__dict__')
## slot-table-of-a-class
class A: ...
def f(): A.__dict__['n']
## field-defaults-of-a-named-tuple
from collections import namedtuple
P = namedtuple('P', 'x')
def f():
    d = P._field_defaults
    d['n'] = 1
## generator-that-is-closed-late
def g():
    try:
        yield 1
    finally:
        print('late')
def f(): return next(g())
## builtin-that-is-perhaps-rebound
if 1 > 2:
    setattr = None
def f(): setattr(f, 'n', 1)
## builtin-kept-before-it-is-rebound
look = getattr
getattr = 1
def f(): return look(f, '_' + '_globals__')
## builtin-that-is-perhaps-an-import
try:
    from nowhere import nothing as eval
except ImportError: pass
def f(): return eval('1')
## builtin-perhaps-rebound-in-a-class
class A:
    look = getattr
    getattr = 1
def f(): return A.look(f, 'n')
## module-perhaps-rebound-in-a-class
import os
class A:
    x = os
    os = 1
def f():
    e = A.x.environ
    e['n'] = '1'
## builtin-perhaps-rebound-in-a-local-class
def f():
    class A:
        if 1 > 2:
            from math import sqrt as setattr
        setattr(f, 'n', 1)
## class-that-is-perhaps-a-builtin
if 1 > 2:
    class max: ...
def g(): ...
def f():
    x = max([g], key=print)
    x.n = 1
## super-rebound
class A:
    def __init__(self): self.n = 1
def f():
    super = lambda: A
    super().__init__(A)
## self-with-a-default
def g(): ...
class A:
    def __init__(self=g): self.n = 1
def f(): A.__init__()
## mangled-name-of-the-module
_A__xs = []
class A:
    def f(self):
        __xs.append(1)
        return len(__xs)
## mangled-name-in-a-local-class
_A__xs = []
def f():
    __xs = 1
    class A:
        def g(self): __xs.append(1)
    return A().g()
## mangled-class-list
class A:
    __xs = []
    def f(self): self._A__xs.append(1)
## statement-at-module-level
while True:
    break
## delete-at-module-level
x = 1
del x
def f(): return x
## else-of-the-main-guard
if __name__ == '__main__':
    pass
else:
    xs = iter('abc')
def f(): return next(xs)
"""
)

TOO_DEEP = ast.Module(body=[ast.Expr(ast.Constant(1))], type_ignores=[])
for _ in range(20_000):
    TOO_DEEP.body[0] = ast.Expr(ast.UnaryOp(ast.USub(), TOO_DEEP.body[0].value))  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HONEST.items()])
def test_honest_solutions_share_a_process(text: str) -> None:
    assert solution(text)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in STATEFUL.items()])
def test_solutions_with_state_do_not(text: str) -> None:
    assert not solution(text)


def case(body: str, head: str = "") -> str:
    """A test text with one method of this body."""
    head = textwrap.dedent(head)
    return f"import unittest\n{head}class T(unittest.TestCase):\n    def test_a(self):\n" + textwrap.indent(
        textwrap.dedent(body), " " * 8
    )


TRACELESS = {
    "equal": case("self.assertEqual(f([1, 2]), 3)\nassert f(1) == 2, 'no'\n"),
    "imports-of-the-solution": case(
        "self.assertEqual(f(1), g.h)\n", "from solution import f\nimport your_module as g\n"
    ),
    "star-of-the-solution": case("self.assertTrue(f(1))\n", "from my_module import *\n"),
    "main-guard": case("f(1)\n")
    + "if __name__ == '__main__':\n    import os; os.environ['x'] = '1'\n    unittest.main()\n",
    "fixtures": """
        import unittest
        class T(unittest.TestCase):
            maxDiff = None
            cases = [(1, 2)]
            @classmethod
            def setUpClass(cls):
                cls.shared = {}
                super().setUpClass()
            def setUp(self):
                self.stack = Stack()
                self.expected = [1, 2]
            def tearDown(self):
                del self.stack
            def test_a(self):
                for a, b in self.cases:
                    with self.subTest(a=a):
                        self.assertEqual(f(a), b)
                T.count = 1
                self.expected[0] = 5
                with self.assertRaises(ValueError) as context:
                    f(None)
                self.assertIn("no", str(context.exception))
            @unittest.skip("later")
            def test_b(self): ...
    """,
    "own-classes": case(
        "n = Node(1)\nn.next = Node(2)\nn.next.next = None\nself.assertEqual(f(n), 1)\n",
        "class Node:\n    def __init__(self, v): self.v = v\n",
    ),
    "classes-of-the-solution": case(
        "n = ListNode(1)\nn.next = ListNode(2)\nself.assertEqual(n.next.value, f(n))\n"
    ),
    "mocks": case(
        "m = Mock()\nm.size.return_value = 3\nself.assertEqual(f(m), 3)\nm.assert_called_once_with(1)\n",
        "from unittest.mock import Mock\n",
    ),
    "patch-as-a-block": case(
        "with mock.patch('builtins.input', return_value='1') as m:\n    f()\n    m.assert_called()\n",
        "from unittest import mock\n",
    ),
    "patch-as-a-decorator": """
        import unittest
        from unittest.mock import patch
        class T(unittest.TestCase):
            @patch('sys.stdout')
            @patch.object(Own, 'size')
            def test_a(self, a, b): f()
    """,
    "print-capture": case(
        "out = io.StringIO()\nwith redirect_stdout(out):\n    f()\nself.assertEqual(out.getvalue(), '1')\n",
        "import io\nfrom contextlib import redirect_stdout\n",
    ),
    "numpy": case("np.testing.assert_allclose(f(np.array([1.0])), np.zeros(1))\n", "import numpy as np\n"),
    "std-helpers": case(
        """
            self.assertEqual(Counter(f('a')), Counter('a'))
            self.assertTrue(math.isclose(f(1), math.pi))
            self.assertEqual(copy.deepcopy(f(1)), Decimal('1'))
        """,
        "import copy, math\nfrom collections import Counter\nfrom decimal import Decimal\n",
    ),
    "unused-imports": case("f(1)\n", "import os, random, sys, threading, asyncio\n"),
    "time-is-only-read": case(
        "start = time.perf_counter()\nf(1)\nself.assertLess(time.perf_counter() - start, 1)\n",
        "import time\n",
    ),
    "random-of-its-own": case(
        "r = random.Random(5)\nself.assertEqual(f(r.randint(1, 2)), 1)\n", "import random\n"
    ),
    "callback": case("seen = []\nf(lambda x: seen.append(x))\nself.assertEqual(seen, [1])\n"),
    "own-globals": case("global count\ncount = 3\nINPUTS.append(2)\nINPUTS[0] = 1\n", "INPUTS = [1]\n"),
    "getattr": case(
        "self.assertTrue(hasattr(f, 'x') or getattr(f, '__name__'))\nself.assertEqual(f.__doc__, 'x')\n"
    ),
    "enum-of-the-text": case(
        "self.assertEqual(f(C.A), 1)\n", "from enum import Enum\nclass C(Enum):\n    A = 1\n"
    ),
    "assert-warns": case("with self.assertWarns(DeprecationWarning):\n    f(1)\n"),
    "shadowed-builtin": case("input = [1]\nself.assertEqual(f(input), 1)\n"),
}

TRACEFUL = {
    "stdout-set": case("sys.stdout = io.StringIO()\nf()\nsys.stdout = sys.__stdout__\n", "import io, sys\n"),
    "sys-path": case("f()\n", "import sys\nsys.path.insert(0, '.')\n"),
    "sys-modules": case("sys.modules['a'] = 1\n", "import sys\n"),
    "recursion-limit": case("sys.setrecursionlimit(50)\n", "import sys\n"),
    "module-attribute": case("math.pi = 3\n", "import math\n"),
    "module-attribute-through-an-alias": case("m.pi = 3\n", "import math as m\n"),
    "module-under-a-local-name": case("m = math\nm.pi = 3\n", "import math\n"),
    "module-as-an-attribute": case("self.m = math\nself.m.pi = 3\n", "import math\n"),
    "module-handed-to-a-helper": case("set_pi(math)\n", "import math\ndef set_pi(m):\n    m.pi = 3\n"),
    "module-in-a-loop": case("for m in [math]:\n    m.pi = 3\n", "import math\n"),
    "builtin-set": case("builtins.print = f\n", "import builtins\n"),
    "setattr": case("setattr(unittest, 'x', 1)\n"),
    "unittest-class-set": case("unittest.TestCase.maxDiff = None\n"),
    "unittest-base-set-through-type": case("type(self).__bases__[0].maxDiff = None\n"),
    "class-of-self-set": case("self.__class__.__mro__[1].x = 1\n"),
    "environment": case("os.environ['A'] = '1'\n", "import os\n"),
    "environment-by-a-method": case("environ.update(A='1')\n", "from os import environ\n"),
    "cwd": case("os.chdir('/')\n", "import os\n"),
    "random-state": case("random.seed(1)\n", "import random\n"),
    "random-drawn": case("f(random.randint(1, 2))\n", "import random\n"),
    "numpy-random-state": case("np.random.seed(1)\n", "import numpy as np\n"),
    "decimal-context": case("decimal.getcontext().prec = 3\n", "import decimal\n"),
    "warnings-filters": case("warnings.simplefilter('error')\n", "import warnings\n"),
    "signal-handler": case("signal.signal(signal.SIGALRM, f)\n", "import signal\n"),
    "thread": case("threading.Thread(target=f).start()\n", "import threading\n"),
    "event-loop": """
        import unittest
        class T(unittest.IsolatedAsyncioTestCase):
            async def test_a(self): await f()
    """,
    "event-loop-run": case("asyncio.run(f())\n", "import asyncio\n"),
    "patch-started": case("p = patch('builtins.print')\np.start()\n", "from unittest.mock import patch\n"),
    "patch-kept": case("self.p = mock.patch('builtins.print')\n", "from unittest import mock\n"),
    "redirect-entered": case(
        "redirect_stdout(None).__enter__()\n", "from contextlib import redirect_stdout\n"
    ),
    "files": case("open('/tmp/x', 'w')\n"),
    "temporary-files": case("tempfile.mkstemp()\n", "import tempfile\n"),
    "exec": case("exec('import os; os.x = 1')\n"),
    "globals-of-a-function": case("f.__globals__['x'] = 1\n"),
    "registered-with-an-abc": case("Sized.register(T)\n", "from collections.abc import Sized\n"),
    "logging": case("logging.disable()\n", "import logging\n"),
    "foreign-library": case("f(pd.DataFrame())\n", "import pandas as pd\n"),
    "loud-import": case("f()\n", "import this\n"),
    "star-of-std": case("main()\n", "from unittest import *\n"),
    "global-of-the-solution": case("solution.LIMIT = 3\nf()\n", "import solution\n"),
    "class-of-the-solution": case("Stack.count = 0\nf()\n"),
    "dict-of-the-solution": case("CACHE['a'] = 1\nf()\n"),
    "class-of-the-solution-handed-back": case("self.assertTrue(f(1, kind=Stack))\n"),
    "function-of-the-solution-handed-back": case("f(g)\n", "from solution import f, g\n"),
    "raw-method-of-the-solution": case("Solution.run(Solution, 1)\n"),
    "runs-itself": case("f()\n") + "unittest.main(exit=False)\n",
    "input": case("f(input())\n"),
    "late-code": case("f()\n", "class A:\n    def __del__(self): print(1)\n"),
    "async-pool": case(
        "with ThreadPoolExecutor() as e: e.submit(f)\n", "from concurrent.futures import ThreadPoolExecutor\n"
    ),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TRACELESS.items()])
def test_tests_that_leave_nothing_behind(text: str) -> None:
    assert traceless(text)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TRACEFUL.items()])
def test_tests_that_may_leave_something_behind(text: str) -> None:
    assert not traceless(text)


def test_what_cannot_be_read_is_not_shared() -> None:
    assert not stateless.solution_is_stateless(TOO_DEEP)
    assert not stateless.test_is_traceless(TOO_DEEP)


def test_known_members_are_no_modules_and_hold_nothing_that_can_be_changed() -> None:
    found = {
        f"{module}.{name}"
        for module, names in known.MEMBERS.items()
        for name in names
        if isinstance(
            getattr(importlib.import_module(module), name, None),
            (types.ModuleType, list, dict, set, bytearray),
        )
    }
    assert found == set()


CORPUS = [
    textwrap.dedent(text) for table in (HONEST, STATEFUL, TRACELESS, TRACEFUL) for text in table.values()
]


@st.composite
def mutants(draw: st.DrawFn) -> ast.Module:
    """A program of the corpus with some nodes put in the places of others."""
    tree, other = (ast.parse(draw(st.sampled_from(CORPUS))) for _ in range(2))
    donors = [node for node in ast.walk(other) if isinstance(node, (ast.expr, ast.stmt))]
    for _ in range(draw(st.integers(1, 4))):
        places = [
            (node, field, index)
            for node in ast.walk(tree)
            for field, value in ast.iter_fields(node)
            for index, item in enumerate(value if isinstance(value, list) else [value])
            if isinstance(item, (ast.expr, ast.stmt))
        ]
        node, field, index = draw(st.sampled_from(places))
        value = getattr(node, field)
        old = value[index] if isinstance(value, list) else value
        kind = ast.stmt if isinstance(old, ast.stmt) else ast.expr
        new = draw(st.sampled_from([donor for donor in donors if isinstance(donor, kind)] or [old]))
        new = copy.deepcopy(new)
        if not isinstance(value, list):
            setattr(node, field, new)
        elif draw(st.booleans()):
            value[index] = new
        elif len(value) > 1:
            del value[index]
    return tree


@given(mutants())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
def test_no_program_makes_an_analysis_raise(tree: ast.Module) -> None:
    try:
        parsed = ast.parse(ast.unparse(ast.fix_missing_locations(tree)))
    except (SyntaxError, ValueError, AttributeError, TypeError):
        return  # not a program any more
    assert stateless.solution_is_stateless(parsed) in (True, False)
    assert stateless.test_is_traceless(parsed) in (True, False)
    assert len(modes.inline_reason(parsed)) <= 60


@given(st.sampled_from(CORPUS), st.data())
@settings(max_examples=150, deadline=None)
def test_no_torn_text_makes_an_analysis_raise(text: str, data: st.DataObject) -> None:
    lines = text.split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        del lines[data.draw(st.integers(0, len(lines) - 1)) : data.draw(st.integers(0, len(lines)))]
        lines = lines or [""]
    try:
        parsed = ast.parse(textwrap.dedent("\n".join(lines)))
    except SyntaxError:
        return
    assert stateless.solution_is_stateless(parsed) in (True, False)
    assert stateless.test_is_traceless(parsed) in (True, False)
    assert len(modes.inline_reason(parsed)) <= 60


@pytest.mark.parametrize(
    "store", ["self._d[x] = 1", "self._d.setdefault(x, {})[x] = 1", "self._d.update({x: 1})"]
)
def test_class_attribute_with_an_underscore_that_methods_change(store: str) -> None:
    source = f"class A:\n    _d = {{}}\n    def f(self, x):\n        {store}\n        return len(self._d)\n"
    assert not stateless.solution_is_stateless(ast.parse(source))
