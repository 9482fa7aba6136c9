"""What the status is told of resources, pools, locks and cleanups."""
import os
import threading
import unittest
from unittest import mock

import support  # noqa: F401  the package's place

import fcgihost
from fcgihost import cleanup, locks, status_items
from fcgihost.host import status_report
from test_cleanup import in_child


class Case(unittest.TestCase):
    def setUp(self):
        self.now = 100.0
        self.told = []
        self.process = cleanup.Scope("the process")
        for owner, name, value in ((status_items, "_things", set()), (status_items, "_is_changed", False), (status_items, "wake", None),
                                   (cleanup, "process_scope", self.process), (cleanup, "_is_exit_arranged", True)):
            patch = mock.patch.object(owner, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(cleanup._loads.clear)
        self.report = status_report.StatusReport(lambda items, left_out: self.told.append((items, left_out)), lambda: self.now)

    def items(self):
        """name -> Item, as it is now."""
        return {item.name: item for item in status_items.collect()}


class TellerTest(Case):
    def test_nothing_is_told_before_something_changes(self):
        self.assertIsNone(self.report.tend())
        self.assertEqual(self.told, [])

    def test_a_change_is_told_at_once_and_further_ones_a_second_later_in_one_go(self):
        status_items.changed()
        self.assertIsNone(self.report.tend())
        self.assertEqual(len(self.told), 1)
        self.now += 0.25
        status_items.changed()
        status_items.changed()
        self.assertEqual(self.report.tend(), 0.75)
        self.assertEqual(len(self.told), 1)
        self.now += 0.75
        self.assertIsNone(self.report.tend())
        self.assertEqual(len(self.told), 2)
        self.now += 10
        self.assertIsNone(self.report.tend())
        self.assertEqual(len(self.told), 2)

    def test_the_main_thread_is_woken_once_for_many_changes(self):
        status_items.wake = mock.Mock()
        for _ in range(5):
            status_items.changed()
        self.assertEqual(status_items.wake.call_count, 1)
        self.report.tend()
        status_items.changed()
        self.assertEqual(status_items.wake.call_count, 2)

    def test_a_forked_child_does_not_wake_its_parent(self):
        def child():
            wakes = []
            status_items.wake = lambda: wakes.append(1)
            status_items.changed()
            return wakes
        self.assertEqual(in_child(child), "[]")

    def test_what_changes_during_the_look_is_told_the_next_time(self):
        class Restless:
            def describe(self):
                status_items.changed()
                return []
        restless = Restless()
        status_items.add(restless)
        self.report.tend()
        self.assertEqual(self.report.tend(), 1.0)

    def test_what_is_gone_is_not_told_of(self):
        pool = fcgihost.Pool(object, size=1)
        self.assertEqual(len(status_items.collect()), 1)
        del pool
        self.assertEqual(status_items.collect(), [])

    def test_of_more_than_64_what_needs_attention_is_told_and_the_others_are_counted(self):
        class Many:
            def describe(self):
                return [status_items.Item("resource", "r%03d" % i, state="failed" if i == 90 else "created") for i in range(100)]
        many = Many()
        status_items.add(many)
        self.report.tend()
        [(items, left_out)] = self.told
        self.assertEqual((len(items), left_out, items[0][:3]), (64, 36, ("resource", "r090", "failed")))


class ResourceTest(Case):
    def setUp(self):
        super().setUp()
        self.error = None
        self.db = fcgihost.resource(self.create, close=lambda made: None, name="db", retry_delay=5)
        self.db._clock = lambda: self.now

    def create(self):
        self.during = self.items()["db"].state
        if self.error is not None:
            raise self.error
        return object()

    def item(self):
        item = self.items()["db"]
        return item.state, item.detail, item.seconds

    def test_it_is_created_and_closed(self):
        self.assertEqual(self.item(), ("not created", "", None))
        self.db.get()
        self.assertEqual(self.during, "creating")
        self.assertTrue(status_items.is_changed())
        self.assertEqual(self.item(), ("created", "", None))
        self.assertFalse(status_items.is_changed())
        self.db.get()
        self.assertFalse(status_items.is_changed())
        self.process.run(lambda name, error: self.fail(name))
        self.assertTrue(status_items.is_changed())
        self.assertEqual(self.item(), ("closed", "", None))

    def test_it_fails_and_is_tried_again(self):
        self.error = ConnectionError("no route")
        with self.assertRaises(fcgihost.ResourceUnavailable):
            self.db.get()
        self.assertTrue(status_items.is_changed())
        self.now += 2
        self.assertEqual(self.item(), ("failed", "ConnectionError: no route", 3.0))
        self.now += 9
        self.error = None
        self.assertEqual(self.item()[2], 0.0)
        self.db.get()
        self.assertEqual(self.item(), ("created", "", None))

    def test_an_error_that_can_not_be_described_is_named(self):
        class Broken(Exception):
            def __str__(self):
                raise ValueError
        self.error = Broken()
        with self.assertRaises(Exception):
            self.db.get()
        self.assertEqual(self.item()[:2], ("failed", "Broken"))


class PoolTest(Case):
    def test_what_is_in_use_idle_and_waited_for(self):
        pool = fcgihost.Pool(object, size=1)
        pool._clock = lambda: self.now
        started, go = threading.Event(), threading.Event()

        def hold():
            with pool.lease():
                started.set()
                go.wait()

        def wait():
            with pool.lease():
                pass
        threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
        threads[0].start()
        started.wait()
        self.now += 4
        threads[1].start()
        while not pool._state.waiters:
            pass
        item, = status_items.collect()
        self.assertEqual((item.name, item.size, item.in_use, item.idle, item.waiting, item.seconds),
                         (pool.name, 1, 1, 0, 1, 4.0))
        go.set()
        for thread in threads:
            thread.join()
        self.assertTrue(status_items.is_changed())
        item, = status_items.collect()
        self.assertEqual((item.in_use, item.idle, item.waiting, item.seconds), (0, 1, 0, None))

    def test_each_lease_and_each_object_that_is_closed_is_a_change(self):
        pool = fcgihost.Pool(object, size=1)
        with pool.lease():
            pass
        status_items.collect()
        with pool.lease():
            self.assertTrue(status_items.is_changed())
            status_items.collect()
        self.assertTrue(status_items.is_changed())
        status_items.collect()
        with self.assertRaises(ValueError), pool.lease():
            status_items.collect()
            raise ValueError
        self.assertTrue(status_items.is_changed())


class LockTest(Case):
    def setUp(self):
        super().setUp()
        status_items.add(locks._locks)

    def test_one_that_is_held_names_its_holder_and_how_many_wait(self):
        def wait():
            with fcgihost.lock("invoices"):
                pass
        with fcgihost.lock("invoices"):
            waiter = threading.Thread(target=wait)
            waiter.start()
            while len(locks._locks._queues["invoices"]) < 2:
                pass
            self.assertTrue(status_items.is_changed())
            item = self.items()["invoices"]
            self.assertEqual((item.state, item.pid, item.waiting), ("held", os.getpid(), 1))
            self.assertIn(str(threading.get_native_id()), item.detail)
            self.assertGreaterEqual(item.seconds, 0)
        self.assertTrue(status_items.is_changed())
        waiter.join()

    def test_what_is_told_before_a_thread_has_it_is_told_again(self):
        with mock.patch.object(locks._File, "write_holder", lambda *arguments: status_items.collect()):
            with fcgihost.lock("invoices"):
                self.assertTrue(status_items.is_changed())

    def test_one_that_another_process_holds_is_waited_for(self):
        turn = locks._Turn("far", locks._locks._token())
        locks._locks._join(turn)
        item = self.items()["far"]
        self.assertEqual((item.state, item.pid, item.waiting, item.seconds), ("waiting", 0, 1, None))
        locks._locks._leave(turn)
        self.assertNotIn("far", self.items())

    def test_the_host_s_own_are_not_shown(self):
        with fcgihost.lock(locks.OWN + "mark"):
            self.assertEqual(status_items.collect(), [])


class CleanupsTest(Case):
    def setUp(self):
        super().setUp()
        status_items.add(self.process)

    def sizes(self):
        return {name: item.size for name, item in self.items().items()}

    def test_they_are_counted_by_lifetime(self):
        self.assertEqual(self.sizes(), {"the process": 0})
        fcgihost.register_cleanup(print)
        self.assertTrue(status_items.is_changed())
        load = cleanup.Scope("start-up import x")
        with load.active():
            fcgihost.register_cleanup(print)
            fcgihost.register_cleanup(max)
        cleanup.adopt_at_end(load)
        self.assertEqual(self.sizes(), {"the process": 1, "start-up import x": 2})
        self.process.adopt(load)
        self.assertEqual(self.sizes(), {"the process": 3})
        fcgihost.unregister_cleanup(max)
        self.assertTrue(status_items.is_changed())
        self.assertEqual(self.sizes(), {"the process": 2})

    def test_each_that_runs_is_a_change(self):
        seen = []
        fcgihost.register_cleanup(lambda: seen.append((status_items.is_changed(), self.sizes()["the process"])))
        self.sizes()
        self.process.run(lambda name, error: self.fail(name))
        self.assertEqual(seen, [(True, 0)])

    def test_those_of_several_lifetimes_that_end_together_are_a_change(self):
        first, second = cleanup.Scope("script a.py"), cleanup.Scope("script b.py")
        for scope in first, second:
            with scope.active():
                fcgihost.register_cleanup(int)
        status_items.collect()
        self.assertEqual(cleanup.run_together([first, second], None), 2)
        self.assertTrue(status_items.is_changed())
        self.assertFalse({"script a.py", "script b.py"} & set(self.items()))

    def test_those_of_requests_are_not_shown(self):
        fcgihost.runtime.begin_request({"REQUEST_METHOD": "GET"})
        fcgihost.request().register_cleanup(lambda: None)
        self.sizes()
        fcgihost.runtime.end_request()
        self.assertFalse(status_items.is_changed())
