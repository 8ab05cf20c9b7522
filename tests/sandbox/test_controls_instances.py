"""Honest programs whose answers are instances of their own classes: enums, records, operators."""

from __future__ import annotations

from typing import Any

from coderm_sandbox import Outcome

CASES = {
    "dataclass": (
        """
            from dataclasses import dataclass, field
            @dataclass(order=True)
            class P:
                x: int
                tags: list = field(default_factory=list)
        """,
        """
            p = P(1)
            p.tags.append("a")
            self.assertEqual(p, P(1, ["a"]))
            self.assertNotEqual(p, P(1))
            self.assertLess(P(1), P(2))
            self.assertEqual(repr(p), "P(x=1, tags=['a'])")
            self.assertEqual((p.x, p.tags, P(2).tags), (1, ["a"], []))
        """,
        ("x: int", "x: int = field(compare=False)"),
    ),
    "frozen-dataclass": (
        """
            import dataclasses
            @dataclasses.dataclass(frozen=True)
            class P:
                x: int
                def moved(self):
                    return dataclasses.replace(self, x=self.x + 1)
        """,
        """
            import dataclasses
            p = P(1)
            with self.assertRaises(dataclasses.FrozenInstanceError):
                p.x = 2
            self.assertEqual(p.moved(), P(2))
            self.assertEqual({p: "one"}[p], "one")
        """,
        ("frozen=True", "frozen=False"),
    ),
    "enum": (
        """
            import enum
            class Color(enum.Enum):
                RED = 'r'
                BLUE = 'b'
            def f(x):
                return Color.RED if x else Color.BLUE
        """,
        """
            self.assertIs(f(1), Color.RED)
            self.assertEqual(f(0), Color.BLUE)
            self.assertNotEqual(f(0), Color.RED)
            self.assertEqual((f(0).name, f(0).value), ("BLUE", "b"))
            self.assertIs(Color("r"), Color["RED"])
            self.assertEqual([color.name for color in Color], ["RED", "BLUE"])
            self.assertEqual({Color.RED: 1}[f(1)], 1)
            self.assertRaises(ValueError, Color, "x")
        """,
        ("if x", "if not x"),
    ),
    "int-enum": (
        """
            import enum
            class Level(enum.IntEnum):
                LOW = 1
                HIGH = 5
            def f():
                return Level.HIGH
        """,
        """
            self.assertEqual(f(), 5)
            self.assertGreater(f(), Level.LOW)
            self.assertIs(f(), Level.HIGH)
            self.assertEqual(f().name, 'HIGH')
            self.assertEqual(f() + 1, 6)
        """,
        ("HIGH = 5", "HIGH = 6"),
    ),
    "namedtuple": (
        """
            from collections import namedtuple
            P = namedtuple('P', 'x y')
            def f():
                return P(1, 2)
        """,
        """
            p = f()
            self.assertEqual(p, (1, 2))
            self.assertEqual(p.y, 2)
            x, y = p
            self.assertEqual(x, p[0])
            self.assertEqual(p._replace(x=5), (5, 2))
            self.assertEqual(p._asdict(), {'x': 1, 'y': 2})
            self.assertIsInstance(p, tuple)
        """,
        ("'x y'", "'y x'"),
    ),
    "typed-namedtuple": (
        """
            from typing import NamedTuple
            class P(NamedTuple):
                x: int
                y: int = 7
                def total(self):
                    return self.x + self.y
        """,
        """
            self.assertEqual(P(1), (1, 7))
            self.assertEqual(P(1).total(), 8)
            self.assertEqual(P(y=1, x=2).x, 2)
            self.assertEqual(sorted([P(2), P(1)]), [(1, 7), (2, 7)])
        """,
        ("= 7", "= 8"),
    ),
    "own-equality": (
        """
            class Vector:
                def __init__(self, x, y):
                    self.x, self.y = x, y
                def __eq__(self, other):
                    return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)
                def __hash__(self):
                    return hash((self.x, self.y))
                def __add__(self, other):
                    return Vector(self.x + other.x, self.y + other.y)
                def __mul__(self, n):
                    return Vector(self.x * n, self.y * n)
                __rmul__ = __mul__
                def __neg__(self):
                    return self * -1
                def __repr__(self):
                    return f"Vector({self.x}, {self.y})"
        """,
        """
            self.assertEqual(Vector(1, 2), Vector(1, 2))
            self.assertNotEqual(Vector(1, 2), Vector(2, 1))
            self.assertFalse(Vector(1, 2) == (1, 2))
            self.assertEqual([Vector(0, 0)], [Vector(0, 0)])
            self.assertIn(Vector(1, 1), [Vector(0, 0), Vector(1, 1)])
        """,
        ("(other.x, other.y)", "(other.y, other.x)"),
    ),
    "operators": (
        """
            class Vector:
                def __init__(self, x, y):
                    self.x, self.y = x, y
                def __eq__(self, other):
                    return isinstance(other, Vector) and (self.x, self.y) == (other.x, other.y)
                def __hash__(self):
                    return hash((self.x, self.y))
                def __add__(self, other):
                    return Vector(self.x + other.x, self.y + other.y)
                def __mul__(self, n):
                    return Vector(self.x * n, self.y * n)
                __rmul__ = __mul__
                def __neg__(self):
                    return self * -1
                def __repr__(self):
                    return f"Vector({self.x}, {self.y})"
        """,
        """
            v, w = Vector(1, 2), Vector(3, 4)
            self.assertEqual(v + w, Vector(4, 6))
            self.assertEqual(v * 2, Vector(2, 4))
            self.assertEqual(3 * v, Vector(3, 6))
            self.assertEqual(-v, Vector(-1, -2))
            v += w
            self.assertEqual(repr(v), 'Vector(4, 6)')
            self.assertEqual(str(w), 'Vector(3, 4)')
            self.assertEqual(f'{w}', 'Vector(3, 4)')
        """,
        ("self.y + other.y", "self.y"),
    ),
    "container": (
        """
            class Bag:
                def __init__(self, *items):
                    self.items = dict.fromkeys(items, 1)
                def __len__(self):
                    return len(self.items)
                def __iter__(self):
                    return iter(self.items)
                def __getitem__(self, key):
                    return self.items[key]
                def __setitem__(self, key, n):
                    self.items[key] = n
                def __delitem__(self, key):
                    del self.items[key]
        """,
        """
            bag = Bag("a", "b")
            self.assertEqual(len(bag), 2)
            self.assertEqual(list(bag), ["a", "b"])
            self.assertIn("a", bag)
            self.assertNotIn("z", bag)
            bag["c"] = 5
            self.assertEqual(bag["c"], 5)
            del bag["a"]
            self.assertEqual(sorted(bag), ["b", "c"])
            self.assertRaises(KeyError, lambda: bag["a"])
            self.assertTrue(bag)
            self.assertFalse(Bag())
        """,
        ("= n", "= 1"),
    ),
    "own-truth": (
        """
            class Switch:
                def __init__(self, on):
                    self.on = on
                def __bool__(self):
                    return self.on
        """,
        """
            self.assertTrue(Switch(True))
            self.assertFalse(Switch(False))
            self.assertEqual(1 if Switch(False) else 2, 2)
        """,
        ("return self.on", "return True"),
    ),
    "sorted-instances": (
        """
            class Job:
                def __init__(self, n):
                    self.n = n
                def __lt__(self, other):
                    return self.n < other.n
        """,
        """
            self.assertEqual([job.n for job in sorted([Job(3), Job(1), Job(2)])], [1, 2, 3])
            self.assertEqual(max(Job(1), Job(5), key=lambda job: job.n).n, 5)
            import heapq
            heap = [Job(2), Job(1)]
            heapq.heapify(heap)
            self.assertEqual(heapq.heappop(heap).n, 1)
        """,
        ("self.n < other.n", "self.n > other.n"),
    ),
    "instances-as-keys": (
        """
            class K:
                def __init__(self, n):
                    self.n = n
            def f(k):
                return {k: k.n, 'same': k}
        """,
        """
            a, b = K(1), K(2)
            found = f(a)
            self.assertEqual(found[a], 1)
            self.assertIs(found['same'], a)
            self.assertEqual(len({a, b, a}), 2)
            self.assertNotIn(b, found)
        """,
        ("k.n, ", "0, "),
    ),
    "instances-back-as-arguments": (
        """
            class ListNode:
                def __init__(self, val=0, next=None):
                    self.val, self.next = val, next
            def reverse(head):
                last = None
                while head:
                    head.next, last, head = last, head, head.next
                return last
        """,
        """
            head = ListNode(1, ListNode(2, ListNode(3)))
            tail = head.next.next
            turned = reverse(head)
            self.assertIs(turned, tail)
            self.assertEqual([turned.val, turned.next.val, turned.next.next.val], [3, 2, 1])
            self.assertIsNone(head.next)
            self.assertIsNone(reverse(None))
        """,
        ("head.next, last, head = last, head, head.next", "last, head = head, head.next"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()


def test_equality_that_only_the_solution_can_decide_is_labelled(sandbox: Any) -> None:
    solution, body, _ = CASES["own-equality"]
    result = sandbox.check(solution, body)
    assert (result.outcome, result.judge) == (Outcome.PASS, "handle")
