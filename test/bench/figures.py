"""The arithmetic of the benchmark and its tables: pure functions."""
import re
import statistics

from cases import UNITS

CALM_PERCENT = 1  # of the machine's time may be stolen in a round that counts as calm


def percentile(latencies, share):
    """The latency that a share of the requests did not exceed; latencies: [(ns, count)], ascending.
    None if there were no requests."""
    wanted, seen = share * sum(count for _, count in latencies), 0
    for latency, count in latencies:
        seen += count
        if seen >= wanted:
            return latency
    return None


def median_ratio(rounds, baseline_rounds, figure):
    """The median of the rounds' ratios to the baseline's. The two of a round were taken one after
    the other, so the machine's mood, which changes from minute to minute, is in both. None
    without figures."""
    pairs = [(own.get(figure), baseline.get(figure))
             for own, baseline in zip(rounds, baseline_rounds)]
    ratios = [own / baseline for own, baseline in pairs if own is not None and baseline]
    return statistics.median(ratios) if ratios else None


def take_calm(take, wanted):
    """Of up to twice as many rounds as are wanted, those that were disturbed least, and all: a
    stolen millisecond is a large part of a latency, and caches are cold after it. take() makes
    one, with stolen_percent."""
    rounds = []
    while sum(one.stolen_percent <= CALM_PERCENT for one in rounds) < wanted and \
            len(rounds) < 2 * wanted:
        rounds.append(take())
    return sorted(rounds, key=lambda one: one.stolen_percent)[:wanted], rounds


def medians(rounds):
    """{figure: median} of the figures of each round; a round without a figure does not count."""
    names = {name: None for figures in rounds for name in figures}
    values = {name: [figures[name] for figures in rounds if figures.get(name) is not None]
              for name in names}
    return {name: statistics.median(found) if found else None for name, found in values.items()}


def load_figures(result, cpu_seconds):
    """The figures of one run of the load generator, given what it printed."""
    served = result["served"]
    p50, p99 = (percentile(result["latencies_ns"], share) for share in (0.5, 0.99))
    return {"cpu_us": cpu_seconds * 1e6 / served if served else None,
            "requests_a_second": served / result["seconds"],
            "p50_ms": p50 / 1e6 if p50 is not None else None,
            "p99_ms": p99 / 1e6 if p99 is not None else None}


def load_problems(result):
    """What went wrong in a run, in words."""
    found = []
    if result["errors"]:
        found.append("%d wrong responses (%s)" % (result["errors"], result["problem"]))
    if result["unserved"]:
        found.append("%d requests without a response" % result["unserved"])
    elif result["starved"]:
        found.append("%d connections never served" % result["starved"])
    return found


def verdict(goal, is_judged, figure, figure_ratio, problems):
    """met, missed, or nothing where there is no goal; a wrong response misses every goal."""
    if problems:
        return "FAILED"
    if goal is None or not is_judged or (figure is None and figure_ratio is None):
        return ""
    return "met" if goal.is_met_by(figure, figure_ratio) else "missed"


# -------------------------------------------------------------------------------
# What /proc says


def proportional_kib(smaps_rollup):
    """Resident memory, in which a page that several processes share counts as its part."""
    return int(re.search(r"^Pss:\s+(\d+) kB", smaps_rollup, re.M).group(1))


def parent_and_reaped_ticks(stat):
    """(parent's pid, clock ticks of children that have ended) from /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), int(fields[13]) + int(fields[14])


def stolen_percent(before, after):
    """What the hypervisor stole of all CPUs' time between two first lines of /proc/stat."""
    ticks = [int(now) - int(then) for then, now in zip(before.split()[1:9], after.split()[1:9])]
    return 100 * ticks[7] / sum(ticks) if sum(ticks) else 0


def cpu_model(cpuinfo):
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.M)
    return match.group(1).strip() if match else "unknown"


# -------------------------------------------------------------------------------
# Tables


def number_text(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return "{:,.0f}".format(value)
    return "%.0f" % value if abs(value) >= 100 else "%.1f" % value if abs(value) >= 10 \
        else "%.2f" % value


def figure_text(value, figure):
    return "-" if value is None else "%s %s" % (number_text(value), UNITS[figure])


def aligned(rows, left):
    """Rows of texts as lines; the first columns (left of them) to the left, the others to the
    right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) if column < left else text.rjust(width)
                      for column, (text, width) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def case_lines(case):
    """The table of one case, as it stands in the JSON."""
    rows = [("", "CPU µs", "requests/s", "p50 ms", "p99 ms", case["unit"], "ratio", "goal", "")]
    for peer in case["peers"]:
        figures = peer["figures"]
        own = case["figure"] not in ("cpu_us", "p50_ms", "p99_ms")
        rows.append((peer["title"], number_text(figures.get("cpu_us")),
                     number_text(figures.get("requests_a_second")),
                     number_text(figures.get("p50_ms")), number_text(figures.get("p99_ms")),
                     number_text(figures.get(case["figure"])) if own else "",
                     "%.2f" % peer["ratio"] if peer["ratio"] is not None else "-",
                     case["goal"] if peer["is_judged"] else "", peer["verdict"]))
    kept = [column for column in range(len(rows[0]))
            if any(row[column] not in ("", "-") for row in rows[1:])]
    lines = aligned([tuple(row[column] for column in kept) for row in rows], 1)
    stolen = case["stolen_percent"]
    title = "%s: %s" % (case["name"], case["title"])
    if stolen > CALM_PERCENT:
        title += " (disturbed: the hypervisor stole up to %.0f %%)" % stolen
    lines = [title] + ["  " + line for line in lines]
    lines += ["  %s: %s" % (peer["title"], problem) for peer in case["peers"]
              for problem in peer["problems"]]
    return lines


def summary_rows(report):
    """A row for each case: fcgihost beside the baseline, uWSGI where the title names no other."""
    rows = [("", "fcgihost", "peer", "ratio", "goal", "")]
    for case in report["cases"]:
        baseline, *others = case["peers"]
        judged = next((peer for peer in others if peer["is_judged"]), None)
        if judged is None:
            continue
        figure = case["figure"]
        rows.append((case["title"], figure_text(judged["figures"].get(figure), figure),
                     figure_text(baseline["figures"].get(figure), figure),
                     "%.2f" % judged["ratio"] if judged["ratio"] is not None else "-",
                     case["goal"], judged["verdict"]))
    return rows


def machine_lines(report):
    machine = report["machine"]
    pinned = "servers on core %d, load on core %d" % tuple(machine["cores"]) \
        if machine["cores"] else "not pinned"
    return ["%s, %d cores, Linux %s; %s" % (machine["cpu"], machine["core_count"],
                                            machine["kernel"], pinned),
            "; ".join(report["versions"].values()),
            "%d rounds, %g s of load each; medians, and the median of the rounds' ratios"
            % (report["rounds"], report["seconds"])]
