import gc
import os
import threading
import unittest
from unittest import mock

import fcgihost
from fcgihost import cleanup, errors
from fcgihost.cleanup import Scope
from fcgihost.resources import Resource
from test_cleanup import in_child, in_thread


class Thing:
    def __init__(self):
        self.closed = 0
        self.is_good = True

    def close(self):
        self.closed += 1


class Case(unittest.TestCase):
    def setUp(self):
        self.now = 1000.0
        self.made = []
        self.error = None
        self.process = Scope("the process")
        for name, value in (("process_scope", self.process), ("_is_exit_arranged", True)):
            patch = mock.patch.object(cleanup, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.reports = []
        errors.report_to(lambda what, error: self.reports.append((what, repr(error))))
        self.addCleanup(errors.report_to, None)
        self.addCleanup(cleanup._loads.clear)

    def create(self):
        self.made.append(Thing())
        if self.error is not None:
            raise self.error
        return self.made[-1]

    def resource(self, create=None, **options):
        result = Resource(create or self.create, name="db", **options)
        result._clock = lambda: self.now
        return result

    def end(self, scope=None):
        """Runs the cleanups; the exceptions that they raised."""
        logged = []
        (scope or self.process).run(lambda name, error: logged.append((name, repr(error))))
        return logged


class GetTest(Case):
    def test_creates_one_object_at_the_first_call(self):
        db = self.resource()
        self.assertEqual(self.made, [])
        self.assertEqual(repr(db), "<fcgihost resource db: not created>")
        self.assertIs(db.get(), db.get())
        self.assertEqual(len(self.made), 1)
        self.assertEqual(repr(db), "<fcgihost resource db: created>")

    def test_none_is_an_object_too(self):
        create = mock.Mock(return_value=None)
        db = self.resource(create)
        self.assertEqual([db.get(), db.get()], [None, None])
        create.assert_called_once_with()

    def test_fifty_threads_at_once_create_one(self):
        started, may_end = threading.Semaphore(0), threading.Event()

        def create():
            may_end.wait()
            return self.create()

        db = self.resource(create)
        objects = []

        def ask():
            started.release()
            objects.append(db.get())

        threads = [threading.Thread(target=ask) for _ in range(50)]
        for thread in threads:
            thread.start()
        for _ in threads:
            started.acquire()
        may_end.set()
        for thread in threads:
            thread.join()
        self.assertEqual(objects, self.made * 50)
        self.assertEqual(len(self.made), 1)

    def test_what_another_thread_created_meanwhile_is_taken(self):
        db = self.resource()
        create_or_wait = db._create_or_wait
        with mock.patch.object(db, "_create_or_wait", lambda state: (in_thread(lambda: create_or_wait(state)),
                                                                     create_or_wait(state))[1]):
            self.assertIs(db.get(), self.made[0])
        self.assertEqual(len(self.made), 1)

    def test_its_own_creation_can_not_get_it(self):
        db = self.resource(lambda: db.get())
        with self.assertRaises(fcgihost.ResourceUnavailable) as caught:
            db.get()
        self.assertIsInstance(caught.exception.__cause__, RuntimeError)
        self.assertIn("its own creation asks for it", str(caught.exception))

    def test_a_creation_may_get_another_one(self):
        inner = self.resource()
        outer = self.resource(lambda: [inner.get()])
        self.assertEqual(outer.get(), self.made)


class FailureTest(Case):
    def setUp(self):
        super().setUp()
        self.error = OSError("refused")

    def fail(self, db):
        with self.assertRaises(fcgihost.ResourceUnavailable) as caught:
            db.get()
        return caught.exception

    def test_says_what_and_why_and_when_again(self):
        error = self.fail(self.resource(retry_delay=2))
        self.assertEqual(str(error), "resource db is unavailable: OSError: refused (it is tried again in 2.0 s)")
        self.assertEqual((error.name, error.retry_after), ("db", 2.0))
        self.assertIs(error.__cause__, self.error)
        self.assertEqual(error.__cause__.__traceback__.tb_next.tb_next.tb_frame.f_code.co_name, "create")

    def test_a_start_up_attempt_tries_again_at_once(self):
        """It has a delay of its own: an attempt that only saw the last failure would be none."""
        db = self.resource(retry_delay=5)
        self.assertRaises(fcgihost.ResourceUnavailable, db.get)
        self.error = None
        self.assertRaises(fcgihost.ResourceUnavailable, db.get)
        with Scope("start-up import shop, attempt 2").active():
            self.assertIs(db.get(), self.made[-1])

    def test_is_not_tried_again_before_the_delay_has_passed(self):
        db = self.resource(retry_delay=2)
        self.fail(db)
        self.now += 1.5
        error = self.fail(db)
        self.assertEqual(len(self.made), 1)
        self.assertEqual(error.retry_after, 0.5)
        self.assertIs(error.__cause__, self.error)
        self.now += 0.5
        self.fail(db)
        self.assertEqual(len(self.made), 2)
        self.now += 1.9
        self.fail(db)
        self.assertEqual(len(self.made), 2)

    def test_heals(self):
        db = self.resource()
        self.fail(db)
        self.error = None
        self.now += 1
        self.assertIs(db.get(), self.made[1])

    def test_a_success_forgets_the_failure(self):
        db = self.resource(check=lambda thing: thing.is_good)
        self.fail(db)
        self.error = None
        self.now += 1
        db.get().is_good = False
        self.now -= 1
        self.assertIs(db.get(), self.made[2])

    def test_all_that_wait_get_the_same_failure(self):
        entered, may_end = threading.Event(), threading.Event()

        def create():
            entered.set()
            may_end.wait()
            self.create()

        db = self.resource(create, retry_delay=0)
        failures, joined = [], threading.Semaphore(0)
        join = db._join

        def noting_join(*args):
            try:
                return join(*args)
            finally:
                joined.release()

        db._join = noting_join
        threads = [threading.Thread(target=lambda: failures.append(self.fail(db))) for _ in range(10)]
        for thread in threads:
            thread.start()
        entered.wait()
        for _ in threads:
            joined.acquire()
        may_end.set()
        for thread in threads:
            thread.join()
        self.assertEqual([failure.__cause__ for failure in failures], [self.error] * 10)
        self.assertEqual(len(set(map(id, failures))), 10)  # each with a traceback of its own
        self.assertEqual(len(self.made), 1)

    def test_a_longer_retry_after_of_the_cause_counts(self):
        self.error = fcgihost.ResourceUnavailable("index", retry_after=7)
        self.assertEqual(self.fail(self.resource()).retry_after, 7)
        self.error = fcgihost.ResourceUnavailable("index", retry_after=0.1)
        self.assertEqual(self.fail(self.resource()).retry_after, 1)

    def test_what_is_no_exception_passes_through_and_nobody_waits_for_ever(self):
        self.error = KeyboardInterrupt()
        db = self.resource()
        with self.assertRaises(KeyboardInterrupt):
            db.get()
        self.assertIs(in_thread(lambda: self.fail(db)).__cause__, self.error)
        self.now += 1
        self.error = None
        self.assertIs(db.get(), self.made[1])

    def test_an_exception_between_the_steps_leaves_no_attempt_behind(self):
        db = self.resource()
        self.error = None
        with mock.patch.object(db, "_attempt", side_effect=KeyboardInterrupt), self.assertRaises(KeyboardInterrupt):
            db.get()
        self.assertIs(db.get(), self.made[0])


class CheckTest(Case):
    def test_is_called_in_each_get_but_the_first(self):
        check = mock.Mock(return_value=True)
        db = self.resource(check=check)
        thing = db.get()
        check.assert_not_called()
        self.assertIs(db.get(), thing)
        self.assertIs(db.get(), thing)
        self.assertEqual(check.call_args_list, [mock.call(thing)] * 2)

    def test_an_object_that_it_refuses_is_closed_and_replaced(self):
        def check(thing):
            return thing.is_good

        def raising(thing):
            return thing.is_good or 1 / 0

        for checker in (check, raising):
            with self.subTest(checker=checker):
                db = self.resource(check=checker, close=Thing.close)
                old = db.get()
                old.is_good = False
                self.assertIsNot(db.get(), old)
                self.assertEqual(old.closed, 1)

    def test_a_close_that_raises_is_reported(self):
        db = self.resource(check=lambda thing: False, close=lambda thing: 1 / 0)
        db.get()
        db.get()
        self.assertEqual(self.reports, [("close of resource db", "ZeroDivisionError('division by zero')")])

    def test_threads_that_see_the_same_bad_object_close_it_once_and_share_the_next(self):
        barrier = threading.Barrier(8)

        def check(thing):
            if thing.is_good:
                return True
            barrier.wait()
            return False

        db = self.resource(check=check, close=Thing.close)
        db.get().is_good = False
        objects = []
        threads = [threading.Thread(target=lambda: objects.append(db.get())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.made[0].closed, 1)
        self.assertEqual(objects, [self.made[1]] * 8)

    def test_an_interrupted_check_closes_nothing(self):
        db = self.resource(check=mock.Mock(side_effect=KeyboardInterrupt), close=Thing.close)
        thing = db.get()
        with self.assertRaises(KeyboardInterrupt):
            db.get()
        self.assertEqual(thing.closed, 0)


class CloseTest(Case):
    def test_is_a_cleanup_from_the_creation_on(self):
        db = self.resource(close=Thing.close)
        self.assertEqual(self.process.pending(), [])
        thing = db.get()
        self.assertEqual(self.process.pending(), ["close of resource db"])
        self.end()
        self.assertEqual(thing.closed, 1)

    def test_none_registers_nothing_though_the_object_could_be_closed(self):
        thing = self.resource().get()
        self.assertEqual(self.process.pending(), [])
        self.end()
        self.assertEqual(thing.closed, 0)

    def test_none_drops_an_object_that_check_refuses(self):
        db = self.resource(check=lambda thing: False)
        self.assertIsNot(db.get(), db.get())
        self.assertEqual((self.made[0].closed, self.reports), (0, []))

    def test_replaced_ones_leave_one_registration_and_are_not_closed_again(self):
        db = self.resource(close=Thing.close, check=lambda thing: False)
        for _ in range(3):
            db.get()
        self.assertEqual(self.process.pending(), ["close of resource db"])
        self.end()
        self.assertEqual([thing.closed for thing in self.made], [1, 1, 1])

    def test_what_the_cleanup_raises_goes_to_the_log_with_its_name(self):
        self.resource(close=lambda thing: 1 / 0).get()
        self.assertEqual(self.end(), [("close of resource db", "ZeroDivisionError('division by zero')")])

    def test_a_failed_attempt_closes_it_and_the_next_creates_it_anew(self):
        db = self.resource(close=Thing.close)
        for number in range(2):
            attempt = Scope("attempt")
            with attempt.active():
                db.get()
            self.assertEqual(self.process.pending(), [])
            self.end(attempt)
            self.assertEqual(self.made[number].closed, 1)
        self.assertIsNot(db.get(), self.made[1])
        self.assertEqual(self.process.pending(), ["close of resource db"])

    def test_one_that_a_script_defines_belongs_to_its_load_though_a_request_creates_it(self):
        load = Scope("load")
        with load.active():
            db = self.resource(close=Thing.close)
        thing = db.get()
        self.assertEqual(self.process.pending(), [])
        self.end(load)
        self.assertEqual(thing.closed, 1)

    def test_created_by_a_cleanup_it_is_closed_too(self):
        db = self.resource(close=Thing.close)
        self.process.register(db.get)
        self.end()
        self.assertEqual(self.made[0].closed, 1)

    def test_created_after_the_cleanups_it_is_closed_at_once_and_unavailable(self):
        self.end()
        with self.assertRaisesRegex(fcgihost.ResourceUnavailable, "cleanups of the process have run"):
            self.resource(close=Thing.close).get()
        self.assertEqual(self.made[0].closed, 1)

    def test_closed_by_the_cleanup_while_a_thread_replaces_it_it_is_closed_once(self):
        db = self.resource(close=Thing.close, check=lambda thing: self.end() and False)
        old = db.get()
        self.assertRaises(fcgihost.ResourceUnavailable, db.get)
        self.assertEqual(old.closed, 1)


class DecoratorTest(Case):
    def test_without_arguments(self):
        @fcgihost.resource
        def db():
            """The database."""
            return 5

        self.assertEqual(db.get(), 5)
        self.assertEqual(db.__doc__, "The database.")
        self.assertEqual(db.name, __name__ + ".DecoratorTest.test_without_arguments.<locals>.db")

    def test_with_arguments(self):
        closed = []

        @fcgihost.resource(close=closed.append, name="x", retry_delay=3)
        def db():
            return 5

        self.assertEqual((db.get(), db.name, db._retry_delay), (5, "x", 3))
        self.end()
        self.assertEqual(closed, [5])

    def test_as_a_function(self):
        self.assertIsInstance(fcgihost.resource(dict).get(), dict)

    def test_wrong_arguments(self):
        for error, options in ((TypeError, dict(create=3)), (TypeError, dict(close="x")), (TypeError, dict(check=1)),
                               (TypeError, dict(retry_delay="1")), (ValueError, dict(retry_delay=-1)),
                               (ValueError, dict(retry_delay=float("nan"))), (TypeError, dict(retry_delay=True)),
                               (TypeError, dict(retry_delay=None))):
            with self.subTest(options=options), self.assertRaises(error):
                fcgihost.resource(**dict(dict(create=dict), **options))


class ForkTest(Case):
    def test_a_child_makes_its_own_and_neither_closes_nor_drops_its_parents(self):
        deleted, closed = [], []

        class Connection:
            def __del__(self):
                deleted.append(id(self))

        db = self.resource(Connection, close=lambda thing: closed.append(id(thing)))
        parents = id(db.get())

        def child():
            mine = id(db.get())
            gc.collect()
            is_same = mine == id(db.get())
            self.end()
            return mine != parents, is_same, parents in deleted, closed == [mine]

        self.assertEqual(in_child(child), "(True, True, False, True)")
        self.assertEqual((id(db.get()), closed, deleted), (parents, [], []))

    def test_a_child_can_create_it_while_a_thread_of_the_parent_does(self):
        entered, may_end = threading.Event(), threading.Event()
        parent = os.getpid()

        def create():
            if os.getpid() == parent:
                entered.set()
                may_end.wait()
            return self.create()

        db = self.resource(create)
        thread = threading.Thread(target=db.get)
        thread.start()
        entered.wait()
        try:
            self.assertIn("Thing", in_child(db.get))
        finally:
            may_end.set()
            thread.join()
        self.assertIs(db.get(), self.made[0])

    def test_a_childs_failure_is_not_its_parents(self):
        db = self.resource(lambda: os.getpid() == parent and 1 / 0)
        parent = os.getpid()
        self.assertRaises(fcgihost.ResourceUnavailable, db.get)
        self.assertEqual(in_child(db.get), "False")


if __name__ == "__main__":
    unittest.main()
