#!/bin/sh
# Builds every harness and runs each for so many seconds on its corpus; 0 seconds only replays it.
#
#   test/fuzz/run.sh SECONDS [NAME...]      NAME: of fuzz_NAME.c
#
# With clang and its libFuzzer; without them the corpora are replayed, with what the compiler has of
# the sanitizers. What is found goes to build/fuzz, never into test/fuzz/corpus. Exit status 1: an
# input broke a harness, and build/fuzz/broken-NAME-* is that input.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:?usage: test/fuzz/run.sh SECONDS [NAME...]}
shift
[ $# -gt 0 ] || set -- $(cd test/fuzz && ls fuzz_*.c | sed 's/^fuzz_\(.*\)\.c$/\1/')

build=build/fuzz
mkdir -p "$build"
flags="-std=c11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -Wall -Wextra -Ifcgihost -Itest/fuzz"
sanitize=address,undefined
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=detect_leaks=1

echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n);
int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; (void)n; return 0; }' \
    > "$build/probe.c"
if clang -fsanitize=fuzzer,$sanitize -o "$build/probe" "$build/probe.c" 2>/dev/null; then
    has_fuzzer=yes
    compile="clang -fsanitize=fuzzer,$sanitize -fno-sanitize-recover=all"
else
    has_fuzzer=no
    compile="${CC:-cc} -fsanitize=$sanitize -fno-sanitize-recover=all"
    echo "fuzz: no clang with libFuzzer: the corpora are only replayed"
fi

# Many harnesses link the same files: each is compiled once.
objects=$build/objects
mkdir -p "$objects"
links=$(test/links $(printf 'test/fuzz/fuzz_%s.c ' "$@")) || exit
{ printf 'test/fuzz/fuzz_%s.c\n' "$@"; [ $has_fuzzer = yes ] || echo test/fuzz/replay.c; echo "$links" | sed 's/.*://'; } |
    sort -u | xargs -P 2 -n 1 sh -c "$compile $flags -c -o \"$objects/\$(basename \"\$0\" .c).o\" \"\$0\"" || exit

status=0
for name; do
    program=$build/fuzz_$name
    modules=$(echo "$links" | sed -n "s|^test/fuzz/fuzz_$name:.*/\(.*\)\.c$|$objects/\1.o|p")
    [ $has_fuzzer = yes ] || modules="$modules $objects/replay.o"
    $compile $flags -o "$program" "$objects/fuzz_$name.o" $modules -lfcgi -linih
    if [ $has_fuzzer = no ] || [ "$seconds" -eq 0 ]; then
        "$program" test/fuzz/corpus/$name/* > "$build/$name.log" 2>&1 || failed=yes
    else
        mkdir -p "$build/corpus/$name"
        "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
            -print_final_stats=1 -artifact_prefix="$build/broken-$name-" \
            "$build/corpus/$name" "test/fuzz/corpus/$name" > "$build/$name.log" 2>&1 || failed=yes
    fi
    if [ "${failed:-no}" = yes ]; then
        tail -n 60 "$build/$name.log"
        echo "fuzz: $name: FAILED"
        status=1
        failed=no
    else
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
        echo "fuzz: $name: ${runs:-$(ls test/fuzz/corpus/$name | wc -l)} inputs, none broke it"
    fi
done
exit $status
