"""Honest programs that raise, and the tests that expect it."""

from __future__ import annotations

from typing import Any

CASES = {
    "own-exception": (
        """
            class BankError(Exception):
                \"""All of them.\"""
            class Overdrawn(BankError, ValueError):
                def __init__(self, code, *, missing):
                    super().__init__(f"{missing} are missing")
                    self.code, self.missing = code, missing
            def f(n):
                raise Overdrawn(7, missing=n)
        """,
        """
            with self.assertRaises(Overdrawn) as caught:
                f(5)
            self.assertEqual((caught.exception.code, caught.exception.missing), (7, 5))
            self.assertEqual(str(caught.exception), "5 are missing")
            self.assertEqual(caught.exception.args, ("5 are missing",))
            self.assertIsInstance(caught.exception, BankError)
            self.assertIs(type(caught.exception), Overdrawn)
            self.assertRaisesRegex(BankError, r"^\\d are missing$", f, 3)
            with self.assertRaises(ValueError):
                f(1)
            with self.assertRaises((KeyError, BankError)):
                f(1)
            self.assertTrue(issubclass(Overdrawn, BankError))
        """,
        ("Overdrawn(7", "Overdrawn(8"),
    ),
    "except-clauses-of-the-test": (
        """
            class Mine(KeyError): ...
            def f(x):
                if x:
                    raise Mine(x)
                raise OSError(2, 'no such', 'file')
        """,
        """
            try:
                f(1)
            except IndexError:
                self.fail("not an index")
            except Mine as error:
                self.assertEqual(error.args, (1,))
            else:
                self.fail("nothing was raised")
            try:
                f(0)
            except Mine:
                self.fail("not mine")
            except FileNotFoundError as error:
                self.assertEqual((error.errno, error.strerror, error.filename), (2, "no such", "file"))
        """,
        ("raise Mine(x)", "raise KeyError(x)"),
    ),
    "builtin-exceptions": (
        """
            def f(x):
                if x == 0:
                    return 1 / x
                if x == 1:
                    return {}["key"]
                if x == 2:
                    return b"\\xff".decode()
                if x == 3:
                    return int("a")
                if x == 4:
                    return None.missing
                raise NotImplementedError("later", x)
        """,
        """
            self.assertRaisesRegex(ZeroDivisionError, "division by zero", f, 0)
            with self.assertRaises(KeyError) as caught:
                f(1)
            self.assertEqual(str(caught.exception), "'key'")
            with self.assertRaises(UnicodeDecodeError) as caught:
                f(2)
            self.assertEqual((caught.exception.object, caught.exception.start), (b"\\xff", 0))
            self.assertRaisesRegex(ValueError, "invalid literal", f, 3)
            with self.assertRaises(AttributeError):
                f(4)
            with self.assertRaises(NotImplementedError) as caught:
                f(5)
            self.assertEqual(caught.exception.args, ("later", 5))
        """,
        ('{}["key"]', '{}["kex"]'),
    ),
    "exceptions-of-the-library": (
        """
            import decimal, json, queue
            def f(x):
                if x == 0:
                    return json.loads('[1,')
                if x == 1:
                    return queue.Queue().get_nowait()
                return decimal.Decimal('a')
        """,
        """
            import decimal, json, queue
            with self.assertRaises(json.JSONDecodeError) as caught:
                f(0)
            self.assertEqual(caught.exception.pos, 3)
            self.assertRaises(queue.Empty, f, 1)
            self.assertRaises(decimal.InvalidOperation, f, 2)
            self.assertRaises(ArithmeticError, f, 2)
        """,
        ("'[1,'", "'[12,'"),
    ),
    "exits-that-are-awaited": (
        """
            import sys
            def f(x):
                if x == 0:
                    sys.exit(3)
                if x == 1:
                    raise KeyboardInterrupt
                assert x > 5, 'too small'
        """,
        """
            with self.assertRaises(SystemExit) as caught:
                f(0)
            self.assertEqual(caught.exception.code, 3)
            self.assertRaises(KeyboardInterrupt, f, 1)
            with self.assertRaisesRegex(AssertionError, "too small"):
                f(2)
            self.assertIsNone(f(6))
        """,
        ("sys.exit(3)", "sys.exit(4)"),
    ),
    "exceptions-as-values": (
        """
            def f(x):
                try:
                    return int(x)
                except ValueError as error:
                    return error
            def g():
                return ValueError
        """,
        """
            self.assertIsInstance(f('a'), ValueError)
            self.assertIn('invalid literal', str(f('a')))
            self.assertIs(g(), ValueError)
            with self.assertRaises(g()):
                raise f('b')
        """,
        ("return error", "return str(error)"),
    ),
    "exception-class-of-a-class": (
        """
            class Stack:
                class Empty(Exception):
                    code = 4
                def pop(self):
                    raise self.Empty('nothing', [1])
        """,
        """
            with self.assertRaises(Stack.Empty) as caught:
                Stack().pop()
            self.assertEqual(caught.exception.code, 4)
            self.assertEqual(caught.exception.args, ('nothing', [1]))
        """,
        ("code = 4", "code = 5"),
    ),
    "exception-with-its-own-text": (
        """
            class Mine(Exception):
                def __init__(self, row, column):
                    self.at = row, column
                def __str__(self):
                    return 'at %d:%d' % self.at
            def f():
                raise Mine(3, 4)
        """,
        """
            with self.assertRaises(Mine) as caught:
                f()
            self.assertEqual(str(caught.exception), 'at 3:4')
            self.assertEqual(caught.exception.at, (3, 4))
            self.assertRaisesRegex(Mine, '^at 3:4$', f)
        """,
        ("'at %d:%d'", "'in %d:%d'"),
    ),
    "raised-by-a-special-method": (
        """
            class Box:
                def __len__(self):
                    raise TypeError('no length')
                def __getitem__(self, at):
                    if at > 2:
                        raise IndexError(at)
                    return at * 2
        """,
        """
            box = Box()
            self.assertEqual(list(box), [0, 2, 4])
            with self.assertRaisesRegex(TypeError, 'no length'):
                len(box)
            with self.assertRaises(IndexError):
                box[3]
        """,
        ("at > 2", "at > 3"),
    ),
    "wrong-arguments": (
        "def f(a, *, b):\n    return a + b\n",
        """
            self.assertEqual(f(1, b=2), 3)
            for call in (lambda: f(), lambda: f(1, 2), lambda: f(1, b=2, c=3), lambda: f('a', b=1)):
                self.assertRaises(TypeError, call)
        """,
        ("*, b", "b=0, c=0"),
    ),
    "error-that-changes-nothing": (
        """
            class Account:
                def __init__(self, money):
                    self.money = money
                def pay(self, n):
                    if n > self.money:
                        raise ValueError(f'only {self.money}')
                    self.money -= n
        """,
        """
            account = Account(5)
            with self.assertRaisesRegex(ValueError, 'only 5'):
                account.pay(6)
            self.assertEqual(account.money, 5)
            account.pay(5)
            self.assertEqual(account.money, 0)
        """,
        ("raise ValueError", "self.money = 0\n            raise ValueError"),
    ),
    "warnings": (
        """
            import warnings
            def f(x):
                warnings.warn('old', DeprecationWarning, stacklevel=2)
                return x
        """,
        """
            import warnings
            with self.assertWarns(DeprecationWarning):
                self.assertEqual(f(1), 1)
            with self.assertWarnsRegex(DeprecationWarning, "^old$"):
                f(1)
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                f(1)
            self.assertEqual([str(one.message) for one in seen], ["old"])
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self.assertRaises(DeprecationWarning, f, 1)
        """,
        ("DeprecationWarning", "UserWarning"),
    ),
    "chained": (
        """
            class Mine(Exception): ...
            def f():
                try:
                    1 / 0
                except ZeroDivisionError as error:
                    raise Mine('because') from error
        """,
        "self.assertRaisesRegex(Mine, 'because', f)",
        ("'because'", "'cause'"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
