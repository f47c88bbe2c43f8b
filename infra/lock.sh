#!/bin/sh
# Locks what pyproject.toml asks for, with hashes and without any registry's address.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check pip-tools
mkdir -p requirements
lock() {
    output=$1
    shift
    "$tools/bin/pip-compile" --quiet --strip-extras --generate-hashes --allow-unsafe --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
        --build-deps-for=editable "$@" --output-file "requirements/$output" pyproject.toml
}
lock runtime.txt
lock development.txt --extra dev --extra oracle
lock bench.txt --extra bench --constraint requirements/development.txt
lock ray.txt --extra ray
"$tools/bin/pip-compile" --quiet --strip-extras --generate-hashes --allow-unsafe --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --output-file requirements/py2neo.txt requirements/py2neo.in
