#!/bin/sh
# Tries `make test` and `make demo` as the very first commands on bare machines.
#
#   test/fresh.sh SUITE...     Debian's: bookworm, trixie, … (make test-fresh SUITES=trixie)
#
#   GOALS="test demo"   the goals of make to try, or package: test/package.sh      T=pattern   for its tests
#   FRESH=build/fresh   where bare roots, fetched packages and the commands' output stay
#   MIRROR=http://deb.debian.org/debian   PORT=8093 for the demo
#
# A bare root has what debootstrap calls minbase, git and make. Each goal gets a copy of it, a clone of this checkout
# (what is committed) and the namespaces of enter(). `make test` must end with its count of tests, in which every suite
# has some; the demo must answer a request and stop when it is told to; any other goal must succeed.
set -eu
cd "$(dirname "$0")/.."
: "${GOALS:=test demo}" "${T:=}" "${FRESH:=build/fresh}" "${MIRROR:=http://deb.debian.org/debian}" "${PORT:=8093}"
LONGEST_SECONDS=2400
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }

say() { echo "fresh: $*"; }
fail() {
    say "$*"
    exit 1
}

# Roots are removed by what is outside of the namespaces, where nothing is mounted in them.
root=
clean_up() {
    [ -z "$root" ] || rm -rf --one-file-system "$root"
    root=
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# separately COMMAND...: in mount and process namespaces of its own, which end with it and take along
# whatever it mounted and left running. Its mounts are seen nowhere else.
separately() {
    timeout --foreground -k 10 $LONGEST_SECONDS \
        unshare --mount --pid --fork --kill-child --propagation private "$@"
}

check_machine() {
    [ "$(id -u)" -eq 0 ] || fail "it makes roots and changes into them, and that takes root: sudo make test-fresh"
    command -v debootstrap >/dev/null || fail "there is no debootstrap: make deps-fresh"
    mkdir -p "$FRESH"
    FRESH=$(cd "$FRESH" && pwd)
    root=$(mktemp -d "$FRESH/run-XXXXXX")
    separately mount -t proc proc "$root" 2>/dev/null ||
        fail "this environment does not allow namespaces with a /proc of their own: it takes a machine, a virtual one," \
            "or a container that may mount (CAP_SYS_ADMIN)"
    clean_up
    [ -z "$(git status --porcelain)" ] || say "what is not committed is not tried"
}

# The bare root of a suite, unless it is there from another time.
make_bare() {
    bare=$FRESH/$suite
    [ ! -d "$bare" ] || return 0
    say "$suite: debootstrap makes the bare root $bare"
    script=
    [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=/usr/share/debootstrap/scripts/sid
    part=$bare.part
    rm -rf --one-file-system "$part"
    root=$part
    if ! separately debootstrap --variant=minbase --include=git,make,ca-certificates \
        "$suite" "$root" "$MIRROR" $script >"$bare-debootstrap.log" 2>&1; then
        tail -n 20 "$bare-debootstrap.log"
        fail "$suite: debootstrap failed; its output is $bare-debootstrap.log"
    fi
    cp -L /etc/hosts /etc/resolv.conf "$root/etc/"
    apt-config dump Acquire 2>/dev/null | grep -i '::proxy' >"$root/etc/apt/apt.conf.d/proxy" || :
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/fresh" # the root is gone within the hour
    echo "deb $MIRROR $suite main" >"$root/etc/apt/sources.list"
    [ "$suite" = sid ] || cat >>"$root/etc/apt/sources.list" <<END
deb $MIRROR $suite-updates main
deb $MIRROR-security $suite-security main
END
    mv "$part" "$bare"
    root=
}

# enter COMMAND: runs it in the clone, with a /proc, /dev and /run that are not the machine's.
enter() {
    mkdir -p "$FRESH/$suite-packages"
    separately sh -euc '
        root=$1
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        mount --bind "$2" "$root/var/cache/apt/archives"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        mkdir "$root/dev/pts" "$root/dev/shm"
        mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        for name in null zero full random urandom tty; do
            : >"$root/dev/$name"
            mount --bind "/dev/$name" "$root/dev/$name"
        done
        for link in pts/ptmx:ptmx /proc/self/fd:fd /proc/self/fd/0:stdin /proc/self/fd/1:stdout /proc/self/fd/2:stderr; do
            ln -s "${link%:*}" "$root/dev/${link#*:}"
        done
        shift 2
        exec chroot "$root" "$@"' - "$root" "$FRESH/$suite-packages" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb CI=true \
        ${http_proxy:+"http_proxy=$http_proxy"} ${T:+"T=$T"} PORT="$PORT" \
        sh -c "cd /root/fcgihost
            $1
            exit \$?" </dev/null
}

# What a user does who tries the demo: starts it, asks once it says that it is ready, stops it.
TRY_DEMO='
    make demo >demo.log 2>&1 &
    until grep -q "Ctrl-C stops everything" demo.log; do
        kill -0 $! 2>/dev/null || { cat demo.log; echo "it ended by itself"; exit 1; }
        sleep 0.2
    done
    answer=$(python3 -c "import urllib.request as u; r = u.urlopen(\"http://127.0.0.1:$PORT/\", timeout=30)
print(r.status, r.read(200).decode().splitlines()[0])")
    kill $!
    wait $! || :
    cat demo.log
    grep -q "demo: stopping" demo.log || { echo "it did not stop in order"; exit 1; }
    left=$(cd /proc && grep -lE "nginx|fcgihost|python|make" [0-9]*/comm) && { echo "it left processes: $left"; exit 1; }
    case $answer in "200 Hello"*) echo "\"$answer\", and it stopped" ;; *) echo "GET /: $answer"; exit 1 ;; esac
'

# Is the last line a count, and did every suite run?
has_counts() {
    tail -n 1 "$1" | grep -Eq '^[0-9]+ passed, 0 failed, [0-9]+ skipped$' || return 1
    for name in unit python e2e; do
        grep -Eq "^$name: .*\b[1-9][0-9]* passed" "$1" || { echo "no test of $name ran" >>"$1"; return 1; }
    done
}

# try GOAL: as the first command on a copy of the bare root.
try() {
    log=$FRESH/$suite-$1.log
    began=$(date +%s)
    pattern=
    [ "$1" != test ] || pattern=${T:+ with T=$T}
    say "$suite: \`make $1\`$pattern as the first command; its output: $log"
    root=$(mktemp -d "$FRESH/run-XXXXXX")
    cp -a --reflink=auto "$bare/." "$root/"
    git clone -q . "$root/root/fcgihost"
    worked=yes
    case $1 in
    demo) enter "$TRY_DEMO" >"$log" 2>&1 || worked=no ;;
    package) enter "sh test/package.sh" >"$log" 2>&1 || worked=no ;;
    test) enter "make test" >"$log" 2>&1 && has_counts "$log" || worked=no ;;
    *)    enter "make $1" >"$log" 2>&1 || worked=no ;;
    esac
    clean_up
    took="$(($(date +%s) - began)) s"
    if [ $worked = yes ]; then
        say "$suite: \`make $1\`: $(tail -n 1 "$log") ($took)"
    else
        grep -v '^cc ' "$log" | tail -n 60
        say "$suite: \`make $1\` FAILED ($took)"
        failed="$failed $suite:$1"
    fi
}

# A function, so that the whole file has been read when it starts: it may change meanwhile.
main() {
    check_machine
    failed=
    for suite; do
        make_bare
        for goal in $GOALS; do
            try "$goal"
        done
    done
    [ -z "$failed" ] || fail "failed:$failed"
    say "every first command worked"
    exit 0
}
main "$@"
