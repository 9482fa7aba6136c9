import gc
import sys
import threading
import unittest
from unittest import mock

import fcgihost
from fcgihost import cleanup, errors, pool as pool_module, runtime
from fcgihost.cleanup import Scope
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
        self.waiting = threading.Semaphore(0)  # released by each thread that is about to wait, when it is queued
        patch = mock.patch.object(runtime, "wait", self.wait)
        patch.start()
        self.addCleanup(patch.stop)

    def wait(self, lock, timeout, wait=runtime.wait):
        self.waiting.release()
        return wait(lock, timeout)

    def create(self):
        if self.error is not None:
            raise self.error
        self.assertLess(len([thing for thing in self.made if not thing.closed]), self.size)
        self.made.append(Thing())
        return self.made[-1]

    def pool(self, size=2, **options):
        self.size = size
        options.setdefault("close", Thing.close)
        pool = fcgihost.Pool(self.create, size=size, **options)
        pool._clock = lambda: self.now
        pool.name = "db"
        return pool

    def end(self, scope=None):
        logged = []
        (scope or self.process).run(lambda name, error: logged.append((name, repr(error))))
        return logged

    def closed(self):
        return [thing.closed for thing in self.made]

    def counts(self, pool):
        return len(pool._state.idle), len(pool._state.holdings), len(pool._state.waiters)


class Holder:
    """A thread that has a lease until it is told to leave."""

    def __init__(self, pool, order=None, name=None):
        self.thing = self.error = None
        self.order = order if order is not None else []
        self.has_it, self.may_leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run, args=(pool,), name=name)
        self.thread.start()

    def run(self, pool):
        try:
            with pool.lease() as self.thing:
                self.order.append(self)
                self.has_it.set()
                self.may_leave.wait()
        except BaseException as error:
            self.error = error
        self.has_it.set()

    def leave(self):
        self.may_leave.set()
        self.thread.join()

    def join_error(self):
        """What kept it from having one."""
        self.leave()
        return self.error


class LeaseTest(Case):
    def test_lends_an_object_and_keeps_it_for_the_next(self):
        pool = self.pool()
        with pool.lease() as first:
            self.assertEqual(self.counts(pool), (0, 1, 0))
            self.assertEqual(repr(pool), "<fcgihost pool db: 0 idle, 1 out, of 2>")
        with pool.lease() as second:
            self.assertIs(first, second)
        self.assertEqual(self.closed(), [0])
        self.assertEqual(self.counts(pool), (1, 0, 0))

    def test_each_thread_has_one_of_its_own(self):
        pool = self.pool()
        holder = Holder(pool)
        holder.has_it.wait()
        with pool.lease() as mine:
            self.assertIsNot(mine, holder.thing)
        holder.leave()
        self.assertEqual(len(self.made), 2)

    def test_a_lease_in_a_lease_gives_the_same(self):
        pool = self.pool(size=1, timeout=0, check=mock.Mock(return_value=False))
        with pool.lease() as outer:
            with pool.lease() as inner:
                self.assertIs(inner, outer)
            with pool.lease() as inner:
                self.assertIs(inner, outer)
            self.assertEqual(self.counts(pool), (0, 1, 0))
        self.assertEqual(self.counts(pool), (1, 0, 0))
        pool._check.assert_not_called()

    def test_two_pools_do_not_mix(self):
        one, other = self.pool(), self.pool()
        with one.lease() as first, other.lease() as second:
            self.assertIsNot(first, second)

    def test_one_lease_is_entered_once_at_a_time(self):
        lease = self.pool().lease()
        for _ in range(2):
            with lease:
                with self.assertRaisesRegex(RuntimeError, "entered already"):
                    lease.__enter__()

    def test_never_more_than_size_exist(self):
        pool = self.pool(size=3, check=lambda thing: thing.is_good)  # create() checks how many are open

        def use():
            for number in range(50):
                try:
                    with pool.lease() as thing:
                        thing.is_good = number % 5 != 0
                        if number % 7 == 0:
                            raise ValueError
                except ValueError:
                    pass
                except AssertionError as error:
                    failures.append(error)

        failures = []
        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.counts(pool)[1:], (0, 0))
        self.assertEqual(len([thing for thing in self.made if not thing.closed]), self.counts(pool)[0])
        self.assertEqual({thing.closed for thing in self.made} - {0}, {1})

    def test_left_by_another_thread(self):
        pool = self.pool(size=1)
        lease = pool.lease()
        first = lease.__enter__()
        in_thread(lambda: lease.__exit__(None, None, None))
        self.assertEqual(self.counts(pool), (1, 0, 0))
        with pool.lease() as second:
            self.assertIs(first, second)
            self.assertEqual(self.counts(pool), (0, 1, 0))


class BrokenTest(Case):
    def test_an_object_whose_block_raised_is_closed(self):
        for error in (ValueError(), KeyboardInterrupt()):
            pool = self.pool()
            with self.assertRaises(type(error)), pool.lease() as thing:
                raise error
            self.assertEqual(thing.closed, 1)
            self.assertEqual(self.counts(pool), (0, 0, 0))
            with pool.lease() as other:
                self.assertIsNot(other, thing)

    def test_so_is_one_whose_inner_block_raised_when_the_outer_one_ends(self):
        pool = self.pool()
        with pool.lease() as thing:
            with self.assertRaises(ValueError), pool.lease():
                raise ValueError
            self.assertEqual(thing.closed, 0)
        self.assertEqual(thing.closed, 1)

    def test_an_object_that_check_refuses_is_closed_and_replaced(self):
        for check in (lambda thing: thing.is_good, lambda thing: thing.is_good or 1 / 0):
            self.made.clear()
            pool = self.pool(size=1, check=check)
            with pool.lease() as old:
                old.is_good = False
            with pool.lease() as new:
                self.assertIsNot(new, old)
            self.assertEqual(self.closed(), [1, 0])

    def test_a_new_object_is_not_checked(self):
        check = mock.Mock(return_value=True)
        pool = self.pool(check=check)
        with pool.lease() as thing:
            check.assert_not_called()
        with pool.lease():
            check.assert_called_once_with(thing)

    def test_a_close_that_raises_is_reported_and_gives_the_place_back(self):
        pool = self.pool(size=1, timeout=0, close=mock.Mock(side_effect=[OSError("gone"), None]))
        with self.assertRaises(ValueError), pool.lease() as thing:
            raise ValueError
        self.assertEqual(self.reports, [("close of pool db", "OSError('gone')")])
        thing.closed = True
        with pool.lease():
            pass

    def test_a_close_that_is_interrupted_gives_the_place_back(self):
        pool = self.pool(size=1, timeout=0, close=mock.Mock(side_effect=[KeyboardInterrupt, None]))
        with self.assertRaises(KeyboardInterrupt), pool.lease() as thing:
            raise ValueError
        thing.closed = True
        with pool.lease():
            pass

    def test_without_close_nothing_is_called(self):
        pool = self.pool(close=None)
        with self.assertRaises(ValueError), pool.lease() as thing:
            raise ValueError
        self.assertEqual((thing.closed, self.counts(pool), self.reports), (0, (0, 0, 0), []))

    def test_the_place_is_free_only_when_the_object_is_closed(self):
        errors_seen = []

        def close(thing):
            errors_seen.append(Holder(pool).join_error())
            thing.close()

        pool = self.pool(size=1, timeout=0, max_idle=10, close=close)
        with self.assertRaises(ValueError), pool.lease():
            raise ValueError
        with pool.lease():
            pass
        self.now += 11
        with pool.lease():
            pass
        self.end()
        self.assertEqual([type(error) for error in errors_seen], [TimeoutError] * 3)

    def test_a_lease_whose_entering_failed_may_be_entered_again(self):
        pool = self.pool()
        lease = pool.lease()
        self.error = OSError()
        self.assertRaises(OSError, lease.__enter__)
        self.error = None
        with lease:
            pass

    def test_a_creation_that_fails_goes_to_the_caller_and_gives_its_place_back(self):
        for error in (OSError("refused"), KeyboardInterrupt()):
            self.made.clear()
            pool = self.pool(size=1, timeout=0)
            self.error = error
            for _ in range(2):
                with self.assertRaises(type(error)), pool.lease():
                    pass
            self.assertEqual(self.counts(pool), (0, 0, 0))
            self.error = None
            with pool.lease():
                pass

    def test_a_creation_that_fails_wakes_the_next(self):
        entered, may_fail = threading.Event(), threading.Event()

        def create():
            if not entered.is_set():
                entered.set()
                may_fail.wait()
                raise OSError("refused")
            return self.create()

        pool = self.pool(size=1)
        pool._create = create
        first = Holder(pool)
        entered.wait()
        second = Holder(pool)
        self.waiting.acquire()
        may_fail.set()
        second.has_it.wait()
        self.assertEqual(second.thing, self.made[0])
        self.assertIsInstance(first.error, OSError)
        second.leave()
        first.thread.join()


class WaitTest(Case):
    def test_waiters_are_served_in_their_order(self):
        pool, order = self.pool(size=1), []
        holders = []
        for number in range(5):
            holders.append(Holder(pool, order))
            if number:
                self.waiting.acquire()
            else:
                holders[0].has_it.wait()
        for holder in holders:
            holder.has_it.wait()
            holder.leave()
        self.assertEqual(order, holders)
        self.assertEqual(len(self.made), 1)

    def test_nobody_overtakes_those_that_wait(self):
        pool = self.pool(size=1, timeout=None)
        with pool.lease():
            holder = Holder(pool)
            self.waiting.acquire()
        pool._timeout = 0
        try:
            with self.assertRaises(TimeoutError), pool.lease():  # though the waiter may not run yet
                pass
        finally:
            holder.leave()
        self.assertEqual(self.counts(pool), (1, 0, 0))

    def test_a_waiter_gets_the_place_of_an_object_that_was_closed(self):
        pool = self.pool(size=1)
        with self.assertRaises(ValueError), pool.lease() as first:
            holder = Holder(pool)
            self.waiting.acquire()
            raise ValueError
        holder.has_it.wait()
        self.assertIsNot(holder.thing, first)
        holder.leave()

    def test_too_long_a_wait_says_of_what_and_who_has_it(self):
        pool = self.pool(size=1, timeout=5)
        holder = Holder(pool, name="busy")
        holder.has_it.wait()
        self.now += 10

        def wait(lock, timeout):
            self.now += timeout
            return False

        with mock.patch.object(runtime, "wait", wait), self.assertRaises(TimeoutError) as caught, pool.lease():
            pass
        self.assertEqual(str(caught.exception), "pool db: waited 5.0 s, and 1 of 1 are still out (busy: for 15.0 s)")
        self.assertEqual(self.counts(pool), (0, 1, 0))
        holder.leave()
        with pool.lease():
            pass

    def test_a_timeout_of_zero_does_not_wait(self):
        pool = self.pool(size=1, timeout=0)
        with pool.lease():
            holder = Holder(pool)
            holder.thread.join()
        self.assertIsInstance(holder.error, TimeoutError)

    def test_what_comes_at_the_last_moment_is_taken(self):
        pool = self.pool(size=1, timeout=5)
        outer = pool.lease()
        thing = outer.__enter__()

        def wait(lock, timeout):
            outer.__exit__(None, None, None)
            return False

        with mock.patch.object(runtime, "wait", wait):
            self.assertIs(in_thread(lambda: pool.lease().__enter__()), thing)

    def test_an_interrupted_wait_loses_nothing(self):
        pool = self.pool(size=1, timeout=5)
        outer = pool.lease()
        for is_granted_before in (False, True):
            outer.__enter__()

            def wait(lock, timeout):
                if is_granted_before:
                    outer.__exit__(None, None, None)
                raise KeyboardInterrupt

            with mock.patch.object(runtime, "wait", wait):
                self.assertRaises(KeyboardInterrupt, in_thread_raising, lambda: pool.lease().__enter__())
            if not is_granted_before:
                outer.__exit__(None, None, None)
            self.assertEqual(self.counts(pool)[1:], (0, 0))


def in_thread_raising(function):
    def catch():
        try:
            return function(), None
        except BaseException as error:
            return None, error

    result, error = in_thread(catch)
    if error is not None:
        raise error
    return result


class IdleTest(Case):
    def two_idle(self, pool):
        holder = Holder(pool)
        holder.has_it.wait()
        with pool.lease():
            pass
        holder.leave()

    def test_the_one_used_last_is_lent_first(self):
        pool = self.pool()
        self.two_idle(pool)
        with pool.lease() as thing:
            self.assertIs(thing, self.made[0])

    def test_older_ones_are_closed_when_a_lease_begins(self):
        pool = self.pool(max_idle=10)
        self.two_idle(pool)
        self.now += 10
        with pool.lease():
            self.assertEqual(self.closed(), [0, 0])
        self.now += 5
        with pool.lease() as thing:
            self.assertEqual(self.closed(), [0, 1])
            self.assertIs(thing, self.made[0])

    def test_older_ones_are_closed_when_a_lease_ends(self):
        pool = self.pool(max_idle=10)
        self.two_idle(pool)
        with pool.lease():
            self.now += 11
            self.assertEqual(self.closed(), [0, 0])
        self.assertEqual(self.closed(), [0, 1])

    def test_without_max_idle_they_stay(self):
        pool = self.pool()
        self.two_idle(pool)
        self.now += 1e9
        with pool.lease():
            self.assertEqual(self.closed(), [0, 0])

    def test_if_all_are_too_old_a_new_one_is_made(self):
        pool = self.pool(size=1, max_idle=10)
        with pool.lease():
            pass
        self.now += 11
        with pool.lease() as thing:
            self.assertIs(thing, self.made[1])
        self.assertEqual(self.closed(), [1, 0])


class CleanupTest(Case):
    def test_closes_what_is_idle_and_what_is_out_when_it_comes_back(self):
        pool = self.pool()
        self.assertEqual(self.process.pending(), [])
        holder = Holder(pool)
        holder.has_it.wait()
        with pool.lease():
            pass
        self.assertEqual(self.process.pending(), ["pool db"])
        self.end()
        self.assertEqual(self.closed(), [0, 1])
        holder.leave()
        self.assertEqual(self.closed(), [1, 1])
        self.assertEqual(self.counts(pool), (0, 0, 0))

    def test_an_object_that_was_being_created_meanwhile_is_closed_when_it_comes_back(self):
        pool = self.pool()
        load = Scope("load")
        with load.active(), pool.lease():
            pass
        made = self.create
        pool._create = lambda: (self.end(load), made())[1]
        with pool.lease() as held, mock.patch.object(pool, "_check", lambda thing: False):
            pass
        self.made[0].is_good = False
        pool._check = lambda thing: False
        with pool.lease() as thing:
            self.assertEqual(self.closed(), [1, 0])
        self.assertEqual(thing.closed, 1)

    def test_afterwards_the_pool_can_be_used_and_is_closed_again(self):
        pool = self.pool()
        attempt = Scope("attempt")
        with attempt.active(), pool.lease():
            pass
        self.end(attempt)
        with pool.lease():
            pass
        self.assertEqual(self.process.pending(), ["pool db"])
        self.end()
        self.assertEqual(self.closed(), [1, 1])

    def test_a_pool_belongs_to_the_load_that_defined_it(self):
        load = Scope("load")
        with load.active():
            pool = self.pool()
        with pool.lease():
            pass
        self.assertEqual((load.pending(), self.process.pending()), (["pool db"], []))

    def test_after_the_cleanups_nothing_is_left_open(self):
        pool = self.pool()
        self.end()
        with self.assertRaisesRegex(RuntimeError, "cleanups of the process have run"), pool.lease():
            pass
        self.assertEqual((self.closed(), self.counts(pool)), ([1], (0, 0, 0)))

    def test_it_is_registered_after_what_its_creation_registers(self):
        pool = self.pool()
        pool._create = lambda: fcgihost.register_cleanup(print) and self.create()
        with pool.lease():
            pass
        self.assertEqual(self.process.pending(), ["pool db", "builtins.print"])

    def test_a_close_that_raises_keeps_no_other_from_being_closed(self):
        pool = self.pool(close=lambda thing: thing.close() or 1 / 0)
        IdleTest.two_idle(self, pool)
        self.assertEqual(self.end(), [])
        self.assertEqual(self.closed(), [1, 1])
        self.assertEqual(len(self.reports), 2)


class ArgumentsTest(Case):
    def test_wrong_ones(self):
        for error, options in ((TypeError, dict(size="1")), (TypeError, dict(size=True)), (ValueError, dict(size=0)),
                               (TypeError, dict(size=1, close=3)), (TypeError, dict(size=1, check=3)),
                               (ValueError, dict(size=1, timeout=-1)), (TypeError, dict(size=1, max_idle="1"))):
            with self.subTest(options=options), self.assertRaises(error):
                fcgihost.Pool(dict, **options)
        with self.assertRaises(TypeError):
            fcgihost.Pool(None, size=1)

    def test_its_name_is_its_creators(self):
        self.assertEqual(fcgihost.Pool(dict, size=1).name, "builtins.dict")


class ForkTest(Case):
    def test_a_child_has_an_empty_pool_and_leaves_its_parents_objects_alone(self):
        pool = self.pool(size=1, timeout=0)
        with pool.lease():
            pass

        def child():
            with pool.lease() as mine:
                pass
            self.end()
            return len(self.made), self.closed(), self.counts(pool), mine is self.made[1]

        self.size = 2
        self.assertEqual(in_child(child), "(2, [0, 1], (0, 0, 0), True)")
        self.assertEqual(self.counts(pool), (1, 0, 0))

    def test_a_child_does_not_drop_its_parents_objects(self):
        deleted = []

        class Connection:
            def __del__(self):
                deleted.append(self)

        pool = fcgihost.Pool(Connection, size=1)
        with pool.lease():
            pass
        self.assertEqual(in_child(lambda: (gc.collect(), deleted)[1]), "[]")

    def test_a_lease_that_a_child_inherits_is_left_without_closing_or_lending(self):
        pool = self.pool(size=1, timeout=0)
        lease = pool.lease()
        thing = lease.__enter__()

        def child():
            self.size = 2
            with pool.lease() as mine:
                is_own = mine is not thing
            lease.__exit__(ValueError, ValueError(), None)
            return is_own, thing.closed, self.counts(pool)

        def child_that_loses_it():
            nonlocal lease
            del lease
            gc.collect()
            return thing.closed

        self.assertEqual(in_child(child), "(True, 0, (1, 0, 0))")
        self.assertEqual(in_child(child_that_loses_it), "0")
        lease.__exit__(None, None, None)

    def test_a_child_can_lease_though_a_thread_held_the_mutex(self):
        pool = self.pool(size=1, timeout=0)

        def child():
            with pool.lease():
                return "leased"

        with pool._state.mutex:
            self.assertEqual(in_child(child), "leased")


class LostTest(Case):
    def test_a_lease_that_nobody_left_is_closed_when_it_is_collected(self):
        pool = self.pool(size=1, timeout=0)

        def stream():
            with pool.lease():
                yield

        started = stream()
        next(started)
        del started
        gc.collect()
        self.assertEqual(self.closed(), [1])
        lease = pool.lease()
        lease.__enter__()
        del lease
        gc.collect()
        self.assertEqual((self.closed(), self.counts(pool)), ([1, 1], (0, 0, 0)))

    def test_an_inner_lease_that_nobody_left_has_the_object_closed_when_the_outer_one_ends(self):
        pool = self.pool(size=1, timeout=0)
        with pool.lease() as thing:
            lease = pool.lease()
            lease.__enter__()
            del lease
            gc.collect()
            self.assertEqual((thing.closed, self.counts(pool)), (0, (0, 1, 0)))
        self.assertEqual((thing.closed, self.counts(pool)), (1, (0, 0, 0)))

    def test_collected_while_the_mutex_is_held_it_is_closed_by_the_next_lease(self):
        pool = self.pool(size=1, timeout=0)
        lease = pool.lease()
        lease.__enter__()
        with pool._state.mutex:
            del lease
            gc.collect()
        self.assertEqual(self.closed(), [0])
        with pool.lease():
            self.assertEqual(self.closed(), [1, 0])

    def test_an_exception_at_any_line_loses_no_place(self):
        for scenario in (self.use, self.use_broken, self.use_aged, self.use_refused):
            with self.subTest(scenario=scenario.__name__):
                self.assertGreater(self.interrupt_everywhere(scenario), 20)

    def use(self, pool):
        for _ in range(2):
            with pool.lease():
                with pool.lease():
                    pass

    def use_broken(self, pool):
        try:
            with pool.lease():
                raise ValueError
        except ValueError:
            pass

    def use_aged(self, pool):
        with pool.lease():
            pass
        self.now += 100
        with pool.lease():
            pass

    def use_refused(self, pool):
        for _ in range(2):
            with pool.lease() as thing:
                thing.is_good = False

    def test_an_exception_at_any_line_of_leaving_keeps_nobody_waiting(self):
        number = 0
        while True:
            self.made.clear()
            pool = self.pool(size=1, timeout=30)
            self.size = 99
            lease = pool.lease()
            lease.__enter__()
            holder = Holder(pool)
            self.waiting.acquire()
            interrupt = Interrupt(pool_module, number)
            try:
                interrupt.run(lease.__exit__, None, None, None)
            except KeyboardInterrupt:
                pass
            del lease
            holder.leave()
            self.assertIsNone(holder.error, interrupt.where)
            if not interrupt.is_done:
                break
            number += 1
        self.assertGreater(number, 10)

    def interrupt_everywhere(self, scenario):
        """Runs scenario again and again, with a KeyboardInterrupt at the first line of pool.py that runs, the
        second, ... until it comes through; returns how many times that was."""
        number = 0
        while True:
            self.made.clear()
            pool = self.pool(size=1, timeout=0, max_idle=50, check=lambda thing: thing.is_good)
            self.size = 99  # an object that nobody closed is no lost place
            interrupt = Interrupt(pool_module, number)
            try:
                interrupt.run(scenario, pool)
            except KeyboardInterrupt:
                pass
            self.assertLessEqual(max(self.closed(), default=0), 1, interrupt.where)
            self.assert_lends(pool, interrupt.where)
            if not interrupt.is_done:
                return number
            number += 1

    def assert_lends(self, pool, where):
        self.assertTrue(pool._state.mutex.acquire(blocking=False), where)
        pool._state.mutex.release()
        try:
            with pool.lease() as thing:
                self.assertEqual((self.counts(pool), thing.closed), ((0, 1, 0), 0), where)
        except TimeoutError:
            self.fail("lost the place: interrupted at " + where)


class Interrupt:
    """Raises KeyboardInterrupt at the start of the so-manieth line of a module that is run.

    Not where a with block ends: there the interpreter itself lets no exception in between.
    """

    def __init__(self, module, number):
        self.file, self.number, self.is_done, self.where = module.__file__, number, False, "nowhere"
        with open(self.file) as file:
            self.lines = file.read().split("\n")

    def run(self, function, *args):
        with mock.patch.object(sys, "unraisablehook", lambda _: None):  # it may have come to a finaliser
            sys.settrace(self.trace)
            try:
                function(*args)
            finally:
                sys.settrace(None)

    def trace(self, frame, event, _):
        if frame.f_code.co_filename != self.file:
            return None
        line = self.lines[frame.f_lineno - 1].strip()
        if event == "line" and not line.startswith("with ") and not self.is_done:
            if self.number == 0:
                self.is_done = True
                self.where = "%s:%d: %s" % (frame.f_code.co_name, frame.f_lineno, line)
                raise KeyboardInterrupt
            self.number -= 1
        return self.trace


if __name__ == "__main__":
    unittest.main()
