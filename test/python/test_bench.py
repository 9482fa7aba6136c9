"""The benchmark's arithmetic and tables, and its table of cases."""
import os
import sys
import types
import unittest

from support import ROOT

sys.path.append(os.path.join(ROOT, "test", "bench"))

import figures      # noqa: E402
import peers        # noqa: E402
from cases import CASES, UNITS, Case, Goal, upload_answer   # noqa: E402


def peer(title, figure, ratio=None, is_judged=False, verdict="", problems=()):
    return {"title": title, "figures": {"cpu_us": figure}, "ratio": ratio, "is_judged": is_judged,
            "verdict": verdict, "problems": list(problems)}


def case(*peers_of_it, goal="≤ 0.45", stolen_percent=0.3):
    return {"name": "hello", "title": "a hello", "figure": "cpu_us", "unit": UNITS["cpu_us"],
            "goal": goal, "peers": list(peers_of_it), "stolen_percent": stolen_percent}


class PercentileTest(unittest.TestCase):
    def test_of_counted_latencies(self):
        latencies = [(10, 98), (20, 1), (30, 1)]
        self.assertEqual([figures.percentile(latencies, share) for share in (0.5, 0.98, 0.99, 1)],
                         [10, 10, 20, 30])

    def test_of_one_request(self):
        self.assertEqual(figures.percentile([(7, 1)], 0.99), 7)

    def test_of_none(self):
        self.assertIsNone(figures.percentile([], 0.99))


class ArithmeticTest(unittest.TestCase):
    def test_stolen_percent(self):
        before = "cpu  100 0 50 800 10 0 0 40 7 7\n"
        self.assertEqual(figures.stolen_percent(before, before), 0)
        self.assertEqual(figures.stolen_percent(before, "cpu  150 0 80 810 10 0 0 50 9 9\n"), 10)
        self.assertEqual(figures.stolen_percent(before, "cpu  150 0 90 810 10 0 0 40 99 7\n"), 0)

    def test_rounds_that_were_disturbed_are_taken_again(self):
        def taken(*percents):
            left = [types.SimpleNamespace(stolen_percent=percent) for percent in percents]
            calmest, every = figures.take_calm(lambda: left.pop(0), 3)
            return [one.stolen_percent for one in calmest], len(every)
        self.assertEqual(taken(0, 1, 0.5, 9), ([0, 0.5, 1], 3))
        self.assertEqual(taken(0, 20, 0.5, 7, 1, 9), ([0, 0.5, 1], 5))
        self.assertEqual(taken(6, 5, 4, 3, 0, 7, 0), ([0, 3, 4], 6))

    def test_median_ratio(self):
        def rounds(*values):
            return [{} if value is None else {"x": value} for value in values]
        self.assertEqual(figures.median_ratio(rounds(5), rounds(20), "x"), 0.25)
        self.assertEqual(figures.median_ratio(rounds(0), rounds(20), "x"), 0)
        # Each round by itself, where 6 / 20 would be 0.3.
        self.assertEqual(figures.median_ratio(rounds(1, 6, 40), rounds(2, 20, 50), "x"), 0.5)
        # A figure that is missing does not shift the pairs.
        self.assertEqual(figures.median_ratio(rounds(None, 4, 6), rounds(1, 8, 12), "x"), 0.5)
        self.assertEqual(figures.median_ratio(rounds(1, 4, 6), rounds(None, 8, 12), "x"), 0.5)
        self.assertIsNone(figures.median_ratio(rounds(None), rounds(20), "x"))
        self.assertIsNone(figures.median_ratio(rounds(5), rounds(0), "x"))
        self.assertIsNone(figures.median_ratio(rounds(5), [], "x"))

    def test_medians_leave_out_rounds_without_a_figure(self):
        rounds = [{"a": 1, "b": None}, {"a": 9, "b": None}, {"a": 2}]
        self.assertEqual(figures.medians(rounds), {"a": 2, "b": None})
        self.assertEqual(figures.medians([]), {})

    def test_figures_of_a_run(self):
        result = {"served": 200, "seconds": 0.5, "latencies_ns": [[1000000, 150], [3000000, 50]]}
        self.assertEqual(figures.load_figures(result, 0.002),
                         {"cpu_us": 10.0, "requests_a_second": 400.0, "p50_ms": 1.0, "p99_ms": 3.0})

    def test_figures_of_a_run_that_served_nobody(self):
        result = {"served": 0, "seconds": 0.5, "latencies_ns": []}
        self.assertEqual(figures.load_figures(result, 0.002),
                         {"cpu_us": None, "requests_a_second": 0, "p50_ms": None, "p99_ms": None})

    def test_problems_of_a_run(self):
        def problems(**more):
            return figures.load_problems(dict({"errors": 0, "unserved": 0, "starved": 0,
                                               "problem": ""}, **more))
        self.assertEqual(problems(), [])
        self.assertEqual(problems(errors=2, problem="why"), ["2 wrong responses (why)"])
        self.assertEqual(problems(unserved=3, starved=3), ["3 requests without a response"])
        self.assertEqual(problems(starved=1), ["1 connections never served"])


class GoalTest(unittest.TestCase):
    def verdict(self, goal, figure, ratio, is_judged=True, problems=()):
        return figures.verdict(goal, is_judged, figure, ratio, problems)

    def test_no_more_than_a_ratio(self):
        self.assertEqual(str(Goal(0.7)), "≤ 0.70")
        self.assertEqual(self.verdict(Goal(0.7), 9, 0.7), "met")
        self.assertEqual(self.verdict(Goal(0.7), 9, 0.71), "missed")
        self.assertEqual(self.verdict(Goal(0.7), 9, None), "missed")

    def test_no_less_than_a_figure(self):
        goal = Goal(90, False, True)
        self.assertEqual(str(goal), "≥ 90")
        self.assertEqual(self.verdict(goal, 90, None), "met")
        self.assertEqual(self.verdict(goal, 89, None), "missed")

    def test_a_wrong_response_misses_every_goal(self):
        self.assertEqual(self.verdict(Goal(0.7), 9, 0.1, problems=["wrong"]), "FAILED")
        self.assertEqual(self.verdict(None, 9, 0.1, False, ["wrong"]), "FAILED")

    def test_nothing_is_said_of_peers_and_without_a_goal(self):
        self.assertEqual(self.verdict(Goal(0.7), 9, 1.0, is_judged=False), "")
        self.assertEqual(self.verdict(None, 9, 0.1), "")


class ProcTest(unittest.TestCase):
    def test_resident_memory(self):
        self.assertEqual(figures.proportional_kib("55-7f rw-p 0 [rollup]\nRss:        17404 kB\n"
                                                  "Pss:        100 kB\n"), 100)

    def test_stat_of_a_process_with_a_nasty_name(self):
        stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 50 60 11 12 20 0 5 0 99 0 0"
        self.assertEqual(figures.parent_and_reaped_ticks(stat), (7, 23))

    def test_cpu_model(self):
        self.assertEqual(figures.cpu_model("processor\t: 0\nmodel name\t: AMD X  \n"), "AMD X")
        self.assertEqual(figures.cpu_model("processor\t: 0\n"), "unknown")


class TableTest(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual([figures.number_text(value) for value in
                          (None, 0, 0.456, -3, 9.123, 12.34, 345.6, 12345.6)],
                         ["-", "0.00", "0.46", "-3.00", "9.12", "12.3", "346", "12,346"])

    def test_a_case(self):
        lines = figures.case_lines(case(
            peer("uWSGI", 20, 1.0), peer("fcgihost", 8, 0.4, True, "met"),
            peer("other", None, None, problems=["2 wrong responses (why)"])))
        self.assertEqual(lines, ["hello: a hello",
                                 "            CPU µs  ratio    goal",
                                 "  uWSGI       20.0   1.00",
                                 "  fcgihost    8.00   0.40  ≤ 0.45  met",
                                 "  other          -      -",
                                 "  other: 2 wrong responses (why)"])

    def test_a_case_that_was_disturbed(self):
        lines = figures.case_lines(case(peer("uWSGI", 20, 1.0), stolen_percent=7.6))
        self.assertEqual(lines[0],
                         "hello: a hello (disturbed: the hypervisor stole up to 8 %)")

    def test_the_summary_has_a_row_for_each_case_that_fcgihost_took_part_in(self):
        report = {"cases": [case(peer("uWSGI", 20, 1.0), peer("fcgihost", 8, 0.4, True, "met")),
                            case(peer("uWSGI", 20, 1.0)),
                            case(peer("uWSGI", None), peer("fcgihost", 8, None, True, "missed"))]}
        self.assertEqual(figures.summary_rows(report)[1:],
                         [("a hello", "8.00 µs CPU", "20.0 µs CPU", "0.40", "≤ 0.45", "met"),
                          ("a hello", "8.00 µs CPU", "-", "-", "≤ 0.45", "missed")])


class CasesTest(unittest.TestCase):
    def test_names_are_unique_and_peers_and_figures_known(self):
        self.assertEqual(len({case.name for case in CASES}), len(CASES))
        for one in CASES:
            self.assertLessEqual(set(one.peers), set(peers.PEERS))
            self.assertIn(one.figure, UNITS)
            self.assertNotIn("fcgihost", one.baseline())

    def test_the_case_says_what_an_upload_answers(self):
        body = b"abcdefghijklmnopqrstuvwxyz" * 2
        self.assertEqual(upload_answer(30), b"30 bytes, %s\n" % body[14:30])

    def test_defaults(self):
        one = Case("name", "title", "cpu_us", None)
        self.assertEqual((one.kind, one.baseline(), one.connections, one.is_kept),
                         ("load", "uwsgi", 4, True))
