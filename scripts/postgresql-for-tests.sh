#!/bin/sh
# A private PostgreSQL server for tests, on a unix socket only. Its data is worth nothing: it does not sync.
#
#   url=$(scripts/postgresql-for-tests.sh start /tmp/pg)     prints the URL to connect with
#   scripts/postgresql-for-tests.sh stop /tmp/pg             stops it and removes the directory
#
# Exit code 3: there are no server binaries here (Debian: apt-get install postgresql). Root runs it as user postgres.
set -eu

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
act=$1 dir=$2

missing() { echo "$1" >&2; exit 3; }
find_binaries() {
    for candidate in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin 2>/dev/null | sort -Vr); do
        [ -x "$candidate/initdb" ] && { echo "$candidate"; return; }
    done
    found=$(command -v initdb || true)
    [ -n "$found" ] && dirname "$found"
}
bin=$(find_binaries || true)
[ -n "$bin" ] || missing "no PostgreSQL server here (Debian: apt-get install postgresql)"

if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || missing "PostgreSQL does not run as root, and there is no user postgres"
    as() { (cd / && exec runuser -u postgres -- "$@"); }
else
    as() { "$@"; }
fi

case $act in
start)
    mkdir -m 0700 "$dir"
    [ "$(id -u)" != 0 ] || chown postgres: "$dir"
    as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; exit 1; }
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -s \
        -o "-c listen_addresses='' -k '$dir' -c fsync=off -c full_page_writes=off -c shared_buffers=16MB" start ||
        { cat "$dir/server.log" >&2; exit 1; }
    echo "postgresql+psycopg://postgres@/postgres?host=$dir"
    ;;
stop)
    [ -f "$dir/data/PG_VERSION" ] || { echo "$dir is not a server of ours" >&2; exit 2; }
    as "$bin/pg_ctl" -D "$dir/data" -m immediate -w -s stop || true
    rm -rf "$dir"
    ;;
*) usage ;;
esac
