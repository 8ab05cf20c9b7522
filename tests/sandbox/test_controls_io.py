"""Honest programs that print, read and look at their arguments, and tests that capture it."""

from __future__ import annotations

from typing import Any

CASES = {
    "redirected-output": (
        """
            def f(name):
                print('hello', name, sep=', ', end='!')
                print()
                return name
        """,
        """
            import contextlib, io
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(f("é"), "é")
                f("b")
            self.assertEqual(out.getvalue(), "hello, é!\\nhello, b!\\n")
        """,
        ("end='!'", "end=''"),
    ),
    "output-to-a-patched-stream": (
        """
            import sys
            def f():
                print('a')
                sys.stdout.write('b\\n')
                print('c', file=sys.stdout, flush=True)
        """,
        """
            from io import StringIO
            from unittest.mock import patch
            with patch("sys.stdout", new_callable=StringIO) as out:
                f()
            self.assertEqual(out.getvalue().splitlines(), ["a", "b", "c"])
        """,
        ("'b\\n'", "'B\\n'"),
    ),
    "output-to-a-replaced-stream": (
        "def f():\n    print(1, 2)\n",
        """
            import io, sys
            kept, sys.stdout = sys.stdout, io.StringIO()
            try:
                f()
                found = sys.stdout.getvalue()
            finally:
                sys.stdout = kept
            self.assertEqual(found, "1 2\\n")
        """,
        ("1, 2", "1, 3"),
    ),
    "patched-print": (
        """
            def f(xs):
                for x in xs:
                    print(x, end=' ')
                print('done', xs)
        """,
        """
            from unittest.mock import call, patch
            with patch("builtins.print") as printed:
                f([1, 2])
            printed.assert_called_with("done", [1, 2])
            self.assertEqual(printed.call_args_list[:2], [call(1, end=" "), call(2, end=" ")])
            self.assertEqual(printed.call_count, 3)
        """,
        ("end=' '", "end=''"),
    ),
    "patched-print-by-decorator": (
        "def f(x):\n    print(f'got {x}')\n",
        """
            import unittest
            from unittest.mock import patch
            class T(unittest.TestCase):
                @patch("builtins.print")
                def test_a(self, printed):
                    f(1)
                    printed.assert_called_once_with("got 1")
        """,
        ("got", "was"),
    ),
    "order-of-what-both-print": (
        "def f(call):\n    print('a')\n    call()\n    print('c')\n",
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                print("start")
                f(lambda: print("b"))
                print("end")
            self.assertEqual(out.getvalue().split(), ["start", "a", "b", "c", "end"])
        """,
        ("    print('a')\n    call()\n", "    call()\n    print('a')\n"),
    ),
    "output-of-a-generator": (
        "def f():\n    for n in range(2):\n        print('made', n)\n        yield n\n",
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                for n in f():
                    print("used", n)
            self.assertEqual(out.getvalue(), "made 0\\nused 0\\nmade 1\\nused 1\\n")
        """,
        ("'made', n", "'made'"),
    ),
    "output-before-an-error": (
        "def f():\n    print('before')\n    raise ValueError\n",
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out, self.assertRaises(ValueError):
                f()
            self.assertEqual(out.getvalue(), "before\\n")
        """,
        ("print('before')", "pass"),
    ),
    "error-stream": (
        "import sys\ndef f():\n    print('bad', file=sys.stderr)\n    print('good')\n",
        """
            import contextlib, io
            errors, out = io.StringIO(), io.StringIO()
            with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
                f()
            self.assertEqual((errors.getvalue(), out.getvalue()), ("bad\\n", "good\\n"))
        """,
        ("file=sys.stderr", "file=None"),
    ),
    "stream-of-the-test": (
        """
            def f(out):
                out.write('a\\n')
                print('b', file=out)
                return out.tell()
        """,
        """
            import io
            out = io.StringIO()
            self.assertEqual(f(out), 4)
            self.assertEqual(out.getvalue(), 'a\\nb\\n')
        """,
        ("print('b', file=out)", "out.write('c\\n')"),
    ),
    "lines-of-a-stream": (
        "def f(lines):\n    return [line.strip() for line in lines if line.strip()]\n",
        "import io\nself.assertEqual(f(io.StringIO('a\\n\\nb\\n')), ['a', 'b'])",
        ("line.strip() for", "line for"),
    ),
    "patched-input": (
        "def f():\n    name = input('name? ')\n    return name, int(input())\n",
        """
            from unittest.mock import patch
            with patch("builtins.input", side_effect=["ann", "7"]) as asked:
                self.assertEqual(f(), ("ann", 7))
            self.assertEqual(asked.call_args_list[0].args, ("name? ",))
            self.assertEqual(asked.call_count, 2)
        """,
        ("name? ", "who? "),
    ),
    "input-until-it-ends": (
        """
            def f():
                found = []
                try:
                    while True:
                        found.append(input())
                except EOFError:
                    return found
        """,
        """
            import io
            from unittest.mock import patch
            with patch("sys.stdin", io.StringIO("a\\nb\\n")):
                self.assertEqual(f(), ["a", "b"])
        """,
        ("return found", "return found[1:]"),
    ),
    "replaced-stdin": (
        """
            import sys
            def f():
                first = sys.stdin.readline()
                return first.strip(), sum(int(line) for line in sys.stdin)
        """,
        """
            import io, sys
            kept, sys.stdin = sys.stdin, io.StringIO("sum\\n1\\n2\\n")
            try:
                self.assertEqual(f(), ("sum", 3))
            finally:
                sys.stdin = kept
        """,
        ("first.strip()", "first"),
    ),
    "input-and-output": (
        """
            def main():
                n = int(input('n: '))
                print(*[x * x for x in range(n)])
        """,
        """
            import io
            from unittest.mock import patch
            with patch("sys.stdin", io.StringIO("4\\n")), patch("sys.stdout", io.StringIO()) as out:
                main()
            self.assertEqual(out.getvalue(), "n: 0 1 4 9\\n")
        """,
        ("x * x", "x + x"),
    ),
    "arguments-of-the-program": (
        "import sys\ndef f():\n    return sys.argv[1:]\n",
        """
            import sys
            from unittest.mock import patch
            with patch.object(sys, "argv", ["prog", "a", "b"]):
                self.assertEqual(f(), ["a", "b"])
        """,
        ("[1:]", "[2:]"),
    ),
    "parsed-arguments": (
        """
            import argparse
            def main(argv=None):
                parser = argparse.ArgumentParser(prog='p')
                parser.add_argument('--n', type=int, required=True)
                print(parser.parse_args(argv).n * 2)
        """,
        """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                main(["--n", "4"])
            self.assertEqual(out.getvalue(), "8\\n")
            with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertRaises(SystemExit) as caught:
                main([])
            self.assertEqual(caught.exception.code, 2)
            self.assertIn("--n", errors.getvalue())
        """,
        ("n * 2", "n"),
    ),
    "main-block": (
        """
            def f():
                return __name__
            if __name__ == '__main__':
                print(f(), input())
                raise SystemExit
        """,
        "self.assertNotEqual(f(), '__main__')",
        ("return __name__", "return '__main__'"),
    ),
    "file-of-its-own": (
        """
            def save(text):
                with open('notes.txt', 'w') as out:
                    return out.write(text)
            def load():
                with open('notes.txt') as notes:
                    return notes.read()
        """,
        "self.assertEqual(save('a\\nb'), 3)\nself.assertEqual(load(), 'a\\nb')",
        ("'w'", "'x+b'"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
