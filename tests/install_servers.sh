#!/bin/sh
# Install the database servers, a pool and the broker that the tests start: from Debian's packages where this
# account may, PostgreSQL otherwise from its wheel. What cannot be had is left to pytest to name at the end.
#
# usage: install_servers.sh PYTHON INSTALL-COMMAND...
set -eu

python=$1
shift
PATH=$PATH:/usr/sbin:/usr/local/sbin

has() { command -v "$1" >/dev/null 2>&1; }
has_postgresql() { has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
has_rabbitmq() { ls /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server >/dev/null 2>&1; }
has_python_header() {
    "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

missing=
has_postgresql || missing="$missing postgresql"
has mariadbd && has mariadb-install-db || missing="$missing mariadb-server"
has mariadb_config || missing="$missing libmariadb-dev"
has pgbouncer || missing="$missing pgbouncer"
has_rabbitmq || missing="$missing rabbitmq-server"
has gcc || missing="$missing gcc libc6-dev"
has_python_header || missing="$missing python3-dev"

if [ -n "$missing" ] && has apt-get; then
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo -n"
        has sudo && sudo -n true 2>/dev/null || as_root=denied
    fi
    if [ "$as_root" = denied ]; then
        echo "apt may not install$missing for this account: going on without"
    else
        echo "apt installs$missing"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086  # both are lists of words
        { $as_root apt-get -qq update &&
            $as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get -qq install -y --no-install-recommends $missing >/dev/null; } </dev/null ||
            echo "apt could not install$missing: going on without"
    fi
fi

has_postgresql || "$@" --editable '.[pgserver]'
if has mariadb_config; then
    "$@" --editable '.[mariadb]' || echo "the MariaDB connector could not be compiled: going on without"
fi
