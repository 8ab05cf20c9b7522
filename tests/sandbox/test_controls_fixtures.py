"""Honest programs that meet the test's own classes, and tests that use the solution in their fixtures."""

from __future__ import annotations

from typing import Any

CASES = {
    "test-class-as-an-argument": (
        "def f(cls, n):\n    return [cls(i) for i in range(n)]\n",
        """
            class Item:
                def __init__(self, n):
                    self.n = n
            made = f(Item, 3)
            self.assertEqual([item.n for item in made], [0, 1, 2])
            self.assertIsInstance(made[0], Item)
        """,
        ("cls(i)", "cls(0)"),
    ),
    "test-objects-are-read": (
        "def f(people):\n    return [p.name for p in sorted(people, key=lambda p: p.age) if p.adult()]\n",
        """
            class Person:
                def __init__(self, name, age):
                    self.name, self.age = name, age
                def adult(self):
                    return self.age >= 18
            self.assertEqual(f([Person("a", 40), Person("b", 17), Person("c", 18)]), ["c", "a"])
        """,
        ("if p.adult()", "if p.age"),
    ),
    "test-objects-are-written": (
        """
            def f(root):
                if root:
                    root.left, root.right = f(root.right), f(root.left)
                    root.seen = True
                return root
        """,
        """
            class TreeNode:
                def __init__(self, val, left=None, right=None):
                    self.val, self.left, self.right = val, left, right
            left, right = TreeNode(2), TreeNode(3, TreeNode(4))
            root = TreeNode(1, left, right)
            self.assertIs(f(root), root)
            self.assertIs(root.left, right)
            self.assertIs(root.right, left)
            self.assertEqual(right.right.val, 4)
            self.assertIsNone(right.left)
            self.assertTrue(left.seen)
        """,
        ("f(root.right), f(root.left)", "root.right, root.left"),
    ),
    "list-nodes-of-the-test": (
        """
            def merge(a, b):
                if not a or not b:
                    return a or b
                if a.val > b.val:
                    a, b = b, a
                a.next = merge(a.next, b)
                return a
        """,
        """
            class ListNode:
                def __init__(self, val, next=None):
                    self.val, self.next = val, next
            head = merge(ListNode(1, ListNode(3)), ListNode(2))
            found = []
            while head:
                found.append(head.val)
                head = head.next
            self.assertEqual(found, [1, 2, 3])
        """,
        ("a.val > b.val", "a.val < b.val"),
    ),
    "test-object-with-operators": (
        """
            def f(items):
                total = items[0]
                for item in items[1:]:
                    total = total + item
                return total, items[0] < items[1], len(items[0]), items[0] == items[0]
        """,
        """
            class Money:
                def __init__(self, n):
                    self.n = n
                def __add__(self, other):
                    return Money(self.n + other.n)
                def __lt__(self, other):
                    return self.n < other.n
                def __len__(self):
                    return self.n
            total, less, size, same = f([Money(1), Money(2), Money(3)])
            self.assertEqual(total.n, 6)
            self.assertEqual((less, size, same), (True, 1, True))
        """,
        ("total + item", "item"),
    ),
    "test-object-is-kept": (
        """
            class Stack:
                def __init__(self):
                    self.items = []
                def push(self, x):
                    self.items.append(x)
                def pop(self):
                    return self.items.pop()
        """,
        """
            first, second = object(), lambda: 5
            stack = Stack()
            stack.push(first)
            stack.push(second)
            stack.push(self)
            self.assertIs(stack.pop(), self)
            self.assertIs(stack.pop(), second)
            self.assertIs(stack.pop(), first)
        """,
        ("self.items.pop()", "self.items.pop(0)"),
    ),
    "test-class-that-inherits": (
        """
            class Base:
                def run(self):
                    return [self.step(n) for n in range(3)]
                def step(self, n):
                    raise NotImplementedError
        """,
        """
            import unittest
            class Sub(Base):
                def step(self, n):
                    return n * 10
            class T(unittest.TestCase):
                def test_run(self):
                    self.assertEqual(Sub().run(), [0, 10, 20])
                    self.assertIsInstance(Sub(), Base)
                def test_base(self):
                    self.assertRaises(NotImplementedError, Base().run)
        """,
        ("range(3)", "range(2)"),
    ),
    "observer": (
        """
            class Subject:
                def __init__(self):
                    self.observers = []
                def attach(self, observer):
                    self.observers.append(observer)
                def tell(self, news):
                    for observer in self.observers:
                        observer.update(self, news)
        """,
        """
            class Observer:
                def __init__(self):
                    self.seen = []
                def update(self, subject, news):
                    self.seen.append((subject, news))
            subject, observer = Subject(), Observer()
            subject.attach(observer)
            subject.tell("a")
            subject.tell("b")
            self.assertEqual(observer.seen, [(subject, "a"), (subject, "b")])
            self.assertIs(observer.seen[0][0], subject)
        """,
        ("(self, news)", "(None, news)"),
    ),
    "fixtures": (
        """
            class Stack:
                def __init__(self):
                    self.items = []
                def push(self, x):
                    self.items.append(x)
        """,
        """
            import unittest
            def setUpModule():
                global module_stack
                module_stack = Stack()
            class T(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    cls.shared = Stack()
                def setUp(self):
                    self.stack = Stack()
                    self.addCleanup(self.stack.items.clear)
                def tearDown(self):
                    self.assertEqual(len(self.stack.items), 1)
                def test_a(self):
                    self.stack.push(1)
                    self.shared.push("a")
                    module_stack.push(0)
                    self.assertEqual(self.shared.items, ["a"])
                def test_b(self):
                    self.stack.push(2)
                    self.shared.push("b")
                    self.assertEqual(self.stack.items, [2])
                    self.assertEqual(self.shared.items, ["a", "b"])
                    self.assertEqual(module_stack.items, [0])
        """,
        ("append(x)", "insert(0, x)"),
    ),
    "subtests-and-two-classes": (
        "def f(x):\n    return x * x\n",
        """
            import unittest
            class Cases:
                cases = [(n, n ** 2) for n in range(5)]
            class A(Cases, unittest.TestCase):
                call = staticmethod(f)
                def test_all(self):
                    for n, wanted in self.cases:
                        with self.subTest(n=n, wanted=wanted):
                            self.assertEqual(self.call(n), wanted)
            class B(unittest.TestCase):
                table = {f(n): n for n in (1, 2)}
                def test_table(self):
                    self.assertEqual(self.table, {1: 1, 4: 2})
        """,
        ("x * x", "x + x"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
