/* The figures as text: for programs, for Prometheus, for people. Each escapes every string as its
 * format wants. */
#ifndef FCGIHOST_STATUS_FORMATS_H
#define FCGIHOST_STATUS_FORMATS_H

#include "status/figures.h"
#include "status/strbuf.h"

void format_json(struct strbuf *text, const struct figures *figures);
/* Prometheus's text exposition format, version 0.0.4. */
void format_prometheus(struct strbuf *text, const struct figures *figures);
/* Lines for a terminal; control characters are escaped. */
void format_plain(struct strbuf *text, const struct figures *figures);
/* The page: page.html, with the plain text where it says so, for browsers without a script. */
void format_page(struct strbuf *text, const struct figures *figures);

/* What the formats share: the sums over all processes. */
struct figures_sums {
    struct counters_totals totals;
    unsigned threads_busy, threads_busiest, sending;
    unsigned in_flight; /* requests that a thread serves, or whose response is being sent */
    size_t threads, waiting, open, idle, max;
    double oldest_waiting_s;
    unsigned long long log_dropped;
};
void figures_sum(const struct figures *figures, struct figures_sums *sums);
/* The application or import number index as all processes together have it: failed if it is so in
 * any, else loading, and the most attempts. The list is that of the newest configuration; a
 * successor that still loads does not count, as its predecessor serves. false: there are not so
 * many. */
bool figures_program(const struct figures *figures, enum program_kind kind, size_t index,
                     struct program_figures *program);
/* Why requests are not served yet: an application, or an import that is required, that has not been
 * loaded; one that has failed before others. false: there is none. */
bool figures_missing(const struct figures *figures, struct program_figures *missing);
/* The larger one; NAN, which is unknown, is none. */
double larger_known(double a, double b);
/* An item's seconds by now: until the next attempt, which does not get negative, or since. */
double item_seconds(const struct process_figures *process, const struct item_figures *item,
                    const struct figures *figures);
/* How long ago Python told what the process knows of items; NAN: it has told nothing. */
double items_age_s(const struct process_figures *process, const struct figures *figures);
/* "loading", "loaded", "failed". */
const char *program_state_name(enum program_state state);
/* Seconds until the next attempt; NAN: none is planned. */
double program_next_attempt_s(const struct program_figures *program, const struct figures *figures);

#endif
