"""fcgihost.LogHandler."""
import io
import logging
import subprocess
import sys
import threading
import unittest
from unittest import mock

import support

import fcgihost
from fcgihost import logs, runtime


class LogHandlerTest(unittest.TestCase):
    def setUp(self):
        self.logged = []
        self.host = mock.patch.object(logs, "_host", support.stub)
        self.host.start()
        self.addCleanup(self.host.stop)
        patch = mock.patch.object(support.stub, "log", lambda *facts: self.logged.append(facts))
        patch.start()
        self.addCleanup(patch.stop)
        self.logger = logging.Logger("shop.orders")
        self.logger.addHandler(fcgihost.LogHandler())

    def test_each_level_is_the_host_s(self):
        for level in (logging.CRITICAL, logging.ERROR, 35, logging.WARNING, logging.INFO, logging.DEBUG, 1):
            self.logger.log(level, "%d pieces", level)
        stub = support.stub
        self.assertEqual([facts[0] for facts in self.logged], [
            stub.LOG_ERROR, stub.LOG_ERROR, stub.LOG_WARNING, stub.LOG_WARNING, stub.LOG_INFO, stub.LOG_DEBUG, stub.LOG_DEBUG])
        self.assertEqual(self.logged[0][1:3], ("application-log", "shop.orders: 50 pieces"))

    def test_a_traceback_belongs_to_its_message(self):
        try:
            raise ValueError("too many \udcff")
        except ValueError:
            self.logger.exception("order failed")
        (_, _, text, _, _), = self.logged
        self.assertTrue(text.startswith("shop.orders: order failed\nTraceback (most recent call last):\n"), text)
        self.assertTrue(text.endswith("ValueError: too many \\udcff"), text)

    def test_its_thread_has_its_name(self):
        thread = threading.Thread(target=self.logger.info, args=("x",), name="load\0er \udcff")
        thread.start()
        thread.join()
        self.assertEqual(self.logged[0][4], "loader \\udcff")

    def test_a_thread_of_the_host_is_named_by_the_host(self):
        thread = threading.Thread(target=self.logger.info, args=("x",), name="Dummy-3")
        thread.start()
        thread.join()
        self.assertIsNone(self.logged[0][4])

    def test_the_request_is_the_thread_s(self):
        self.logger.info("without")
        runtime.begin_request({"fcgihost.request_id": "4f2a"})
        self.addCleanup(runtime.leave_request)
        self.logger.info("within")
        self.assertEqual([facts[3] for facts in self.logged], [None, "4f2a"])

    def test_a_record_keeps_the_request_that_it_was_given(self):
        self.logger.info("x", extra={"request_id": "of another"})
        self.assertEqual(self.logged[0][3], "of another")

    def test_formatters_can_have_the_request(self):
        self.logger.handlers[0].setFormatter(logging.Formatter("%(request_id)s %(message)s"))
        self.logger.info("x")
        self.assertEqual(self.logged[0][2], "- x")

    def test_what_can_not_be_formatted_is_reported_as_logging_does(self):
        with mock.patch.object(sys, "stderr", io.StringIO()) as stderr:
            self.logger.info("%d", "no number")
        self.assertEqual(self.logged, [])
        self.assertIn("--- Logging error ---", stderr.getvalue())


class OutsideTest(unittest.TestCase):
    SCRIPT = """
import logging, sys
sys.path.insert(0, %r)
import fcgihost
logging.basicConfig(handlers=[fcgihost.LogHandler()])
logging.getLogger("shop").warning("few left")
""" % support.PACKAGE

    def test_it_writes_to_standard_error(self):
        done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", self.SCRIPT], stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stderr, b"warning: shop: few left\n")


if __name__ == "__main__":
    unittest.main()
