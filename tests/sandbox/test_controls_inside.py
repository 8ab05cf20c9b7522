"""Honest tests that reach into the process of the solution: patches of its names and of the library, seeds,
logs, files. Whether they are judged apart or inline is decided from their text; they pass either way."""

from __future__ import annotations

from typing import Any

CASES = {
    "patched-constant": (
        "LIMIT = 3\ndef f(x):\n    return min(x, LIMIT)\n",
        """
            from unittest.mock import patch
            with patch("solution.LIMIT", 5):
                self.assertEqual(f(9), 5)
            self.assertEqual(f(9), 3)
        """,
        ("min(x, LIMIT)", "min(x, 3)"),
    ),
    "patched-function": (
        """
            def rate(name):
                raise OSError('no network')
            def f(name, n):
                return rate(name) * n
        """,
        """
            from unittest.mock import patch
            with patch("solution.rate", return_value=2) as asked:
                self.assertEqual(f("eur", 5), 10)
            asked.assert_called_once_with("eur")
            self.assertRaises(OSError, f, "eur", 5)
        """,
        ("* n", "+ n"),
    ),
    "patched-method": (
        """
            class Shop:
                def price(self, item):
                    return 1
                def total(self, items):
                    return sum(self.price(item) for item in items)
        """,
        """
            from unittest.mock import patch
            with patch.object(Shop, "price", side_effect=[10, 20]) as asked:
                self.assertEqual(Shop().total(["a", "b"]), 30)
            self.assertEqual(asked.call_count, 2)
            self.assertEqual(Shop().total("abc"), 3)
        """,
        ("self.price(item)", "1"),
    ),
    "patched-method-of-an-instance": (
        """
            class Shop:
                def price(self, item):
                    return 1
                def total(self, items):
                    return sum(self.price(item) for item in items)
        """,
        """
            from unittest.mock import Mock
            shop = Shop()
            shop.price = Mock(return_value=4)
            self.assertEqual(shop.total(["a", "b"]), 8)
            shop.price.assert_called_with("b")
        """,
        ("self.price(item)", "1"),
    ),
    "mocked-dependency": (
        """
            class Service:
                def __init__(self, client):
                    self.client = client
                def names(self):
                    return [row['name'] for row in self.client.get('/users', limit=2).json()]
        """,
        """
            from unittest.mock import Mock, MagicMock
            client = Mock()
            client.get.return_value.json.return_value = [{"name": "a"}, {"name": "b"}]
            self.assertEqual(Service(client).names(), ["a", "b"])
            client.get.assert_called_once_with("/users", limit=2)
            failing = MagicMock()
            failing.get.side_effect = ConnectionError("down")
            self.assertRaisesRegex(ConnectionError, "down", Service(failing).names)
        """,
        ("limit=2", "limit=3"),
    ),
    "patched-random": (
        """
            import random
            def f():
                return random.randint(1, 6) + random.choice([1, 2])
        """,
        """
            from unittest.mock import patch
            with patch("random.randint", return_value=4), patch("random.choice", return_value=2):
                self.assertEqual(f(), 6)
        """,
        ("random.randint(1, 6)", "random.randrange(0, 1)"),
    ),
    "patched-sleep": (
        "import time\ndef f():\n    time.sleep(100)\n    return 'slept'\n",
        """
            from unittest.mock import patch
            with patch("time.sleep") as slept:
                self.assertEqual(f(), "slept")
            slept.assert_called_once_with(100)
        """,
        ("100", "10"),
    ),
    "patched-time": (
        """
            import time
            def f(call):
                start = time.time()
                call()
                return time.time() - start
        """,
        """
            from unittest.mock import patch
            with patch("time.time", side_effect=[10.0, 12.5]):
                self.assertEqual(f(int), 2.5)
        """,
        ("- start", "+ start"),
    ),
    "patched-open": (
        """
            def f(path):
                with open(path) as file:
                    return file.read().upper()
        """,
        """
            from unittest.mock import mock_open, patch
            with patch("builtins.open", mock_open(read_data="abc")) as opened:
                self.assertEqual(f("any.txt"), "ABC")
            opened.assert_called_once_with("any.txt")
        """,
        (".upper()", ""),
    ),
    "patched-environment": (
        "import os\ndef f():\n    return os.environ.get('MODE', 'none')\n",
        """
            import os
            from unittest.mock import patch
            with patch.dict(os.environ, {"MODE": "fast"}):
                self.assertEqual(f(), "fast")
            self.assertEqual(f(), "none")
        """,
        ("'MODE', 'none'", "'MODUS', 'none'"),
    ),
    "seed-of-the-test": (
        "import random\ndef f(xs):\n    random.shuffle(xs)\n    return xs\n",
        """
            import random
            random.seed(7)
            first = f(list(range(50)))
            random.seed(7)
            self.assertEqual(f(list(range(50))), first)
            random.seed(8)
            self.assertNotEqual(f(list(range(50))), first)
        """,
        ("random.shuffle", "random.Random().shuffle"),
    ),
    "logs": (
        """
            import logging
            log = logging.getLogger('app')
            def f(x):
                log.warning('got %s', x)
                log.debug('more')
        """,
        """
            with self.assertLogs("app", level="INFO") as caught:
                f(5)
            self.assertEqual(caught.output, ["WARNING:app:got 5"])
            self.assertEqual(caught.records[0].levelname, "WARNING")
        """,
        ("'got %s'", "'had %s'"),
    ),
    "file-of-the-test": (
        """
            def f(path):
                with open(path) as file:
                    return len(file.readlines())
        """,
        """
            import os, tempfile
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "data.txt")
                with open(path, "w") as file:
                    file.write("a\\nb\\n")
                self.assertEqual(f(path), 2)
            self.assertRaises(FileNotFoundError, f, path)
        """,
        ("len(file.readlines())", "len(file.read())"),
    ),
    "file-for-the-test": (
        """
            import json
            def f(path, data):
                with open(path, 'w') as file:
                    json.dump(data, file)
        """,
        """
            import json, os, tempfile
            with tempfile.NamedTemporaryFile("r", suffix=".json", delete=False) as file:
                f(file.name, {"a": [1]})
                self.assertEqual(json.load(file), {"a": [1]})
            os.unlink(file.name)
        """,
        ("json.dump(data, file)", "json.dump([data], file)"),
    ),
    "decimal-context-of-the-test": (
        "import decimal\ndef f(x):\n    return decimal.Decimal(x) / 3\n",
        """
            import decimal
            with decimal.localcontext() as context:
                context.prec = 3
                self.assertEqual(str(f(1)), "0.333")
        """,
        ("/ 3", "/ 7"),
    ),
    "source-and-signature": (
        'def f(a, b=2, *rest, c=None):\n    """Adds."""\n    return a + b\n',
        """
            import inspect
            self.assertEqual(list(inspect.signature(f).parameters), ["a", "b", "rest", "c"])
            self.assertEqual(inspect.signature(f).parameters["b"].default, 2)
            self.assertTrue(inspect.isfunction(f))
            self.assertEqual(inspect.getdoc(f), "Adds.")
            self.assertEqual(f(1), 3)
        """,
        ("b=2", "b=3"),
    ),
}


def test_passes(control: Any) -> None:
    control.passes()


def test_wrong_variant_does_not_pass(control: Any) -> None:
    control.wrong_variant_does_not_pass()
