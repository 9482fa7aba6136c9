import gc
import os
import signal
import sys
import tempfile
import threading
import traceback
import unittest
from unittest import mock

import fcgihost
from fcgihost import locks as lock_module, runtime
from test_cleanup import in_child, in_thread
from test_pool import Interrupt



def close(locks):
    if locks._file is not None:
        os.close(locks._file._fd)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="fcgihost-test-")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "locks")
        self.locks = lock_module.Locks()
        self.waiting = threading.Semaphore(0)  # released by each thread that is about to wait, when it is queued
        for thing, name, value in ((runtime, "lock_folders", [[self.folder]]), (lock_module, "_locks", self.locks),
                                   (runtime, "wait", self.wait)):
            patch = mock.patch.object(thing, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(close, self.locks)

    def wait(self, lock, timeout, wait=runtime.wait):
        self.waiting.release()
        return wait(lock, timeout)

    def use_clock(self, on_sleep=lambda seconds: None):
        """From now on time passes only where a thread would sleep; the list of how long it did."""
        now, slept = [1000.0], []

        def sleep(seconds):
            slept.append(seconds)
            now[0] += seconds
            on_sleep(seconds)

        self.locks._clock = lambda: now[0]
        self.locks._sleep = sleep
        return slept

    def assert_names(self, error, seconds, *holder):
        pattern = r"^lock 'a': waited %s s; process %d, thread %s \(%d\), has held it since 20\d\d-[-0-9]+ [:0-9]+$"
        self.assertRegex(str(error), pattern % (seconds, *holder))

    def error_of(self, lock):
        with self.assertRaises(TimeoutError) as caught:
            lock.__enter__()
        return caught.exception

    def is_free(self, name="a"):
        """For another thread of this process?"""
        def try_it():
            try:
                with fcgihost.lock(name, timeout=0):
                    return True
            except TimeoutError:
                return False

        return in_thread(try_it)

    def is_free_elsewhere(self, name="a"):
        """For another process?"""
        return in_child(lambda: self.is_free(name)) == "True"


class Child:
    """A forked child that does what it is told: "acquire", "release", "exit"; it answers with a word."""

    def __init__(self, name="a"):
        self.name = name
        self.from_parent, self.to_child = os.pipe()
        self.from_child, self.to_parent = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.serve()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)

    def serve(self):
        os.close(self.to_child)
        while True:
            word = os.read(self.from_parent, 10).decode().strip()
            answer = "done"
            try:
                if word == "acquire":
                    fcgihost.lock(self.name, timeout=0).__enter__()
                elif word == "release":
                    fcgihost.lock(self.name).__exit__(None, None, None)
                else:
                    return
            except TimeoutError:
                answer = "timeout"
            os.write(self.to_parent, answer.encode())

    def tell(self, word):
        os.write(self.to_child, word.ljust(10).encode())
        return os.read(self.from_child, 10).decode()

    def end(self, kill=False):
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        else:
            os.write(self.to_child, b"exit      ")
        os.waitpid(self.pid, 0)
        for descriptor in (self.from_parent, self.to_child, self.from_child, self.to_parent):
            os.close(descriptor)


class Holder:
    """A thread that has the lock until it is told to leave."""

    def __init__(self, order, name=None):
        self.has_it, self.may_leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run, args=(order,), name=name)
        self.thread.start()

    def run(self, order):
        with fcgihost.lock("a"):
            order.append(self)
            self.has_it.set()
            self.may_leave.wait()

    def leave(self):
        self.may_leave.set()
        self.thread.join()


class ThreadsTest(Case):
    def test_excludes_the_other_threads(self):
        with fcgihost.lock("a"):
            self.assertFalse(self.is_free())
            self.assertTrue(self.is_free("b"))
        self.assertTrue(self.is_free())
        self.assertEqual(self.locks._queues, {})

    def test_its_thread_may_take_it_again(self):
        lock = fcgihost.lock("a", timeout=0)
        with lock, lock:
            with fcgihost.lock("a", timeout=0):
                pass
            self.assertFalse(self.is_free())
        self.assertTrue(self.is_free())

    def test_an_exception_releases_it(self):
        with self.assertRaises(ValueError), fcgihost.lock("a"):
            raise ValueError
        self.assertTrue(self.is_free())

    def test_waiters_are_served_in_their_order(self):
        order = []
        holders = [Holder(order)]
        holders[0].has_it.wait()
        for _ in range(4):
            holders.append(Holder(order))
            self.waiting.acquire()
        for holder in holders:
            holder.has_it.wait()
            holder.leave()
        self.assertEqual(order, holders)

    def test_many_threads_count_right(self):
        count = [0]

        def add():
            for _ in range(100):
                with fcgihost.lock("a"):
                    value = count[0]
                    os.sched_yield()
                    count[0] = value + 1

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(count, [800])

    def test_the_age_of_one_that_is_held_does_not_follow_the_time_of_day(self):
        self.use_clock()
        with fcgihost.lock("a"):
            self.locks._sleep(7)
            with mock.patch("time.time", lambda: 0.0):
                item, = self.locks.describe()
        self.assertEqual((item.name, item.state, item.seconds), ("a", "held", 7))

    def test_too_long_a_wait_names_the_holder(self):
        slept = self.use_clock()
        holder = Holder([], name="busy")
        holder.has_it.wait()

        def wait(lock, timeout):
            self.locks._sleep(timeout)
            return False

        with mock.patch.object(runtime, "wait", wait), self.assertRaises(TimeoutError) as caught:
            with fcgihost.lock("a", timeout=5):
                pass
        self.assertEqual(slept, [5])
        self.assert_names(caught.exception, "5.0", os.getpid(), "busy", holder.thread.native_id)
        holder.leave()
        self.assertTrue(self.is_free())

    def test_waiters_that_give_up_leave_the_others_alone(self):
        with fcgihost.lock("a"):
            errors = [in_thread(lambda: self.error_of(fcgihost.lock("a", timeout=0))) for _ in range(3)]
        self.assertEqual([type(error) for error in errors], [TimeoutError] * 3)
        self.assertTrue(self.is_free())

    def test_a_holder_that_has_ended_is_named_so(self):
        in_thread(fcgihost.lock("a").__enter__)
        gc.collect()
        with self.assertRaisesRegex(TimeoutError, "and has ended without releasing it"):
            fcgihost.lock("a", timeout=0).__enter__()

    def test_leaving_what_one_has_not_got_raises(self):
        for prepare in (lambda: None, lambda: in_thread(fcgihost.lock("a").__enter__)):
            prepare()
            with self.assertRaisesRegex(RuntimeError, "lock 'a': this thread does not hold it"):
                fcgihost.lock("a").__exit__(None, None, None)

    def test_an_interrupted_wait_passes_the_turn_on(self):
        holder = Holder([])
        holder.has_it.wait()

        def wait(lock, timeout):
            holder.leave()
            raise KeyboardInterrupt

        with mock.patch.object(runtime, "wait", wait), self.assertRaises(KeyboardInterrupt):
            fcgihost.lock("a").__enter__()
        self.assertTrue(self.is_free())

    def interrupt_everywhere(self, step, check):
        """Calls step(lock) again and again, with a KeyboardInterrupt at each line of locks.py, one after the other,
        and then check(lock, where)."""
        number = 0
        while True:
            with mock.patch.object(lock_module, "_locks", lock_module.Locks()) as locks:
                lock = fcgihost.lock("a", timeout=0)
                interrupt = Interrupt(lock_module, number)
                try:
                    step(lock, interrupt)
                except KeyboardInterrupt:
                    check(lock, interrupt.where)
                close(locks)
            if not interrupt.is_done:
                return number
            number += 1

    def test_an_exception_at_any_line_of_entering_leaves_it_free(self):
        def step(lock, interrupt):
            interrupt.run(lock.__enter__)

        def check(lock, where):
            self.assertTrue(self.is_free(), where)
            self.assertTrue(self.is_free_elsewhere(), where)

        self.assertGreater(self.interrupt_everywhere(step, check), 20)

    def test_an_exception_at_any_line_of_leaving_leaves_it_free_or_as_it_was(self):
        outcomes = []

        def step(lock, interrupt):
            lock.__enter__()
            interrupt.run(lock.__exit__, None, None, None)

        def check(lock, where):
            outcomes.append(self.is_free())
            self.assertEqual(self.is_free_elsewhere(), outcomes[-1], where)
            if not outcomes[-1]:
                lock.__exit__(None, None, None)
                self.assertTrue(self.is_free() and self.is_free_elsewhere(), where)

        self.interrupt_everywhere(step, check)
        self.assertIn(True, outcomes)

class NamesTest(Case):
    def test_any_text_is_a_name(self):
        names = ["", "a", "A", "a/../b", "a\0b", "é", "\ud800", "x" * 10000, "a\nb"]
        for name in names:
            with self.subTest(name=name[:20]), fcgihost.lock(name, timeout=0):
                self.assertEqual([self.is_free(other) for other in names], [other != name for other in names])
        self.assertEqual(os.listdir(self.folder), ["locks"])

    def test_places_do_not_overlap_and_fit(self):
        places = {lock_module._place(str(number)) for number in range(1000)}
        self.assertEqual(len(places), 1000)
        for place in places:
            self.assertEqual(place % 2, 0)
            self.assertTrue(0 <= place < 2 ** 63 - 1)

    def test_wrong_arguments(self):
        for error, args, options in ((TypeError, (3,), {}), (TypeError, ("a",), {"timeout": "1"}),
                                     (ValueError, ("a",), {"timeout": -1})):
            with self.assertRaises(error):
                fcgihost.lock(*args, **options)

    def test_repr(self):
        self.assertEqual(repr(fcgihost.lock("a")), "<fcgihost lock 'a'>")


class ProcessesTest(Case):
    def setUp(self):
        super().setUp()
        self.child = None

    def start_child(self):
        self.child = Child()
        self.addCleanup(lambda: self.child and self.child.end())
        return self.child

    def test_excludes_the_other_processes(self):
        child = self.start_child()
        self.assertEqual(child.tell("acquire"), "done")
        self.assertFalse(self.is_free())
        self.assertTrue(self.is_free("b"))
        self.assertEqual(child.tell("release"), "done")
        with fcgihost.lock("a", timeout=0):
            self.assertEqual(child.tell("acquire"), "timeout")
        self.assertEqual(child.tell("acquire"), "done")

    def test_it_is_released_only_by_the_last_exit(self):
        with fcgihost.lock("a"):
            with fcgihost.lock("a"):
                pass
            self.assertFalse(self.is_free_elsewhere())
        self.assertTrue(self.is_free_elsewhere())

    def test_between_two_threads_of_a_process_others_may_get_it(self):
        with fcgihost.lock("a"):
            pass
        self.assertTrue(self.is_free_elsewhere())

    def test_a_wait_looks_every_50_ms(self):
        child = self.start_child()
        child.tell("acquire")
        slept = self.use_clock(lambda seconds: len(slept) == 4 and child.tell("release"))
        with fcgihost.lock("a"):
            self.assertEqual(slept, [0.05] * 4)

    def test_too_long_a_wait_names_the_holder(self):
        child = self.start_child()
        child.tell("acquire")
        slept = self.use_clock()
        with self.assertRaises(TimeoutError) as caught, fcgihost.lock("a", timeout=0.12):
            pass
        self.assertEqual([round(seconds, 9) for seconds in slept], [0.05, 0.05, 0.02])
        self.assert_names(caught.exception, "0.1", child.pid, "MainThread", child.pid)
        self.assertEqual(self.locks._queues, {})

    def test_the_time_in_the_queue_of_the_own_threads_counts(self):
        child = self.start_child()
        slept = self.use_clock()
        holder = Holder([])
        holder.has_it.wait()

        def wait(lock, timeout):
            self.locks._sleep(0.1)
            holder.leave()
            child.tell("acquire")
            return True

        with mock.patch.object(runtime, "wait", wait), self.assertRaisesRegex(TimeoutError, "waited 0.1 s"):
            fcgihost.lock("a", timeout=0.1).__enter__()
        self.assertEqual(slept, [0.1])

    def test_a_record_of_another_lock_is_not_believed(self):
        child = self.start_child()
        child.tell("acquire")
        with mock.patch.object(lock_module, "_record_offset", return_value=0), fcgihost.lock("b"):
            with self.assertRaisesRegex(TimeoutError, "another process holds it"):
                fcgihost.lock("a", timeout=0).__enter__()

    def test_a_thread_that_waits_for_another_process_is_not_named_as_the_holder(self):
        child = self.start_child()
        child.tell("acquire")
        errors = []

        def time_out(seconds):
            if not errors:  # the first time that the first thread sleeps
                errors.append(None)
                errors.append(in_thread(lambda: self.error_of(fcgihost.lock("a", timeout=0))))
                child.tell("release")

        self.use_clock(time_out)
        with fcgihost.lock("a"):
            self.assert_names(errors[1], "0.0", child.pid, "MainThread", child.pid)

    def test_a_process_that_is_killed_releases_it(self):
        child = self.start_child()
        child.tell("acquire")
        self.assertFalse(self.is_free())
        child.end(kill=True)
        self.child = None
        self.assertTrue(self.is_free())

    def test_who_was_passed_over_for_long_lets_nobody_pass(self):
        child = self.start_child()
        child.tell("acquire")
        answers = []

        def try_to_pass(seconds):
            child.tell("release")
            answers.append(child.tell("acquire"))

        slept = self.use_clock(try_to_pass)
        with fcgihost.lock("a"):
            self.assertEqual(answers, ["done"] * (len(slept) - 1) + ["timeout"])
            self.assertGreaterEqual(sum(slept), lock_module._PATIENCE)
        self.assertEqual(child.tell("acquire"), "done")

    def test_who_gives_up_waiting_opens_the_gate(self):
        child = self.start_child()
        child.tell("acquire")
        self.use_clock()
        with self.assertRaises(TimeoutError), fcgihost.lock("a", timeout=1):
            pass
        child.tell("release")
        self.assertEqual(child.tell("acquire"), "done")


class ForkTest(Case):
    def test_a_child_has_not_got_its_parents_lock(self):
        with fcgihost.lock("a"):
            self.assertEqual(in_child(self.is_free), "False")
            self.assertEqual(in_child(lambda: fcgihost.lock("a", timeout=0).__enter__())[:9], "Traceback")

    def test_leaving_in_a_child_what_its_parent_entered_releases_nothing(self):
        lock = fcgihost.lock("a")
        lock.__enter__()
        lock.__enter__()

        def child():
            lock.__exit__(None, None, None)
            lock.__exit__(None, None, None)
            try:
                lock.__exit__(None, None, None)
            except RuntimeError:
                return self.is_free()

        self.assertEqual(in_child(lambda: in_child(child)), "False")
        self.assertFalse(self.is_free())
        self.assertFalse(self.is_free_elsewhere())
        lock.__exit__(None, None, None)
        lock.__exit__(None, None, None)
        self.assertTrue(self.is_free_elsewhere())

    def test_a_child_keeps_no_lock_of_its_parents_alive(self):
        middle_reader, middle_writer = os.pipe()
        child = os.fork()
        if child == 0:  # takes the lock, forks, and dies without releasing it; its child lives on
            fcgihost.lock("a").__enter__()
            grandchild = os.fork()
            if grandchild == 0:
                signal.pause()
            os.write(middle_writer, b"%d" % grandchild)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        grandchild = int(os.read(middle_reader, 20))
        self.addCleanup(os.kill, grandchild, signal.SIGKILL)
        os.close(middle_reader)
        os.close(middle_writer)
        self.assertTrue(self.is_free())

    def test_a_child_can_lock_though_a_thread_held_the_mutex(self):
        with self.locks._mutex:
            self.assertEqual(in_child(self.is_free), "True")

    def test_a_child_does_not_queue_behind_its_parents_threads(self):
        holder = Holder([])
        holder.has_it.wait()
        waiter = Holder([])
        self.waiting.acquire()
        self.assertEqual(in_child(lambda: (self.is_free(), self.is_free("b"), self.locks._queues)),
                         "(False, True, {})")
        self.assertIn("RuntimeError", in_child(lambda: fcgihost.lock("a").__exit__(None, None, None)))
        holder.leave()
        waiter.has_it.wait()
        waiter.leave()
        self.assertTrue(self.is_free_elsewhere())


class FolderTest(Case):
    def test_it_is_made_for_the_user_alone(self):
        self.is_free()
        self.assertEqual(os.stat(self.folder).st_mode & 0o7777, 0o700)
        self.assertEqual(os.stat(os.path.join(self.folder, "locks")).st_mode & 0o7777, 0o600)

    def test_one_where_others_could_write_is_refused(self):
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o770)
        with self.assertRaisesRegex(PermissionError, "must be a folder of user %d's alone" % os.geteuid()):
            fcgihost.lock("a").__enter__()
        self.assertEqual(self.locks._queues, {})
        os.chmod(self.folder, 0o700)
        self.assertTrue(self.is_free())

    def test_a_link_is_refused(self):
        target = self.folder + ".target"
        os.mkdir(target, 0o700)
        os.symlink(target, self.folder)
        self.assertRaises(PermissionError, fcgihost.lock("a").__enter__)

    def test_a_linked_file_is_refused(self):
        os.mkdir(self.folder, 0o700)
        os.symlink(self.folder + ".target", os.path.join(self.folder, "locks"))
        self.assertRaises(OSError, fcgihost.lock("a").__enter__)

    def test_another_users_is_refused(self):
        os.mkdir(self.folder, 0o700)
        with mock.patch.object(os, "geteuid", return_value=os.geteuid() + 1):
            self.assertRaises(PermissionError, fcgihost.lock("a").__enter__)

    def test_outside_the_host_it_is_the_users(self):
        runtime.set_lock_folders(None)
        with mock.patch.object(tempfile, "gettempdir", return_value=os.path.dirname(self.folder)):
            self.is_free()
        self.assertEqual(os.listdir(os.path.dirname(self.folder)), ["fcgihost-%d" % os.geteuid()])

    def test_the_host_says_where_it_is(self):
        runtime.set_lock_folders([[self.folder + ".host"]])
        self.is_free()
        self.assertEqual(os.listdir(self.folder + ".host"), ["locks"])

    def test_where_the_file_is_removed_while_it_is_waited_for_nobody_gets_the_old_one(self):
        """A cleaner has removed it; who came later, from another process, has locked the new one."""
        first, second = Child(), Child()
        self.addCleanup(first.end)
        self.addCleanup(second.end)
        self.assertEqual(first.tell("acquire"), "done")
        told = []

        def look(seconds):
            if not told:
                os.unlink(os.path.join(self.folder, "locks"))
                told.append(second.tell("acquire"))
                first.tell("release")
            else:
                told.append(second.tell("release"))
        self.use_clock(look)
        with fcgihost.lock("a"):
            self.assertEqual(told, ["done", "done"])
            self.assertEqual(first.tell("acquire"), "timeout")

    def test_a_full_disk_only_takes_the_holder_s_name_away(self):
        with mock.patch.object(os, "pwrite", side_effect=OSError(28, "No space left on device")):
            with fcgihost.lock("a"):
                self.assertFalse(self.is_free_elsewhere())

    def test_it_is_opened_once(self):
        self.is_free()
        file = self.locks._file
        self.is_free()
        self.assertIs(self.locks._file, file)

    def test_a_file_that_was_removed_is_made_anew(self):
        self.is_free()
        os.unlink(os.path.join(self.folder, "locks"))
        with fcgihost.lock("a"):
            self.assertFalse(self.is_free_elsewhere())
        os.unlink(os.path.join(self.folder, "locks"))
        os.rmdir(self.folder)
        with fcgihost.lock("a"):
            self.assertTrue(os.path.exists(self.folder))

    def test_a_descriptor_that_the_application_closed_is_opened_anew(self):
        self.is_free()
        os.close(self.locks._file._fd)
        other = os.open(os.devnull, os.O_RDONLY)  # takes its number
        with fcgihost.lock("a"):
            self.assertFalse(self.is_free_elsewhere())
        os.close(other)

    def test_no_program_inherits_the_descriptor(self):
        self.is_free()
        self.assertFalse(os.get_inheritable(self.locks._file._fd))


if __name__ == "__main__":
    unittest.main()
