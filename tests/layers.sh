#!/bin/bash
# Goal: no part of src/ knows a part above it, pure parts make no system call, and what must not
# know the kinds of ports does not. Method: every #include is held against the table below, which is
# that of docs and src/meson.build: lowest first.
#   layers.sh SOURCE_ROOT
set -u
cd "${1:?usage: layers.sh SOURCE_ROOT}" || exit 2

# part, and whether it is pure; a part may include itself and those above it in this table
table='
base     pure
wire     pure
metrics  pure
config   -
sandbox  -
bridge   pure
convoy   pure
guest    -
port     -
switch   -
control  -
'
# System headers that a pure part may use: they declare types, or functions of plain memory (of
# stdio only snprintf).
pure_headers='assert errno endian inttypes math stdarg stdatomic stdbool stddef stdint stdio stdlib string strings sys/uio'
# Files of pure parts that exist to reach the system, for those that are not pure.
system_files='base/alloc base/clock base/error base/log base/reactor convoy/frame_pool'
# Parts that may name only some headers of others: who, of which part, and which. The client may
# name no others.
narrow='
switch  port   port/port.h
switch  guest  none
cli     base   base/compiler.h base/nearest.h
cli     metrics metrics/drops.h metrics/merge_refusals.h
cli     control control/version.h
'

failures=0
checked=0

fail() {
    echo "$1" >&2
    failures=$((failures + 1))
}

# Its place in the table, from 1; nothing: not there.
rank() { awk -v part="$1" 'NF { n++ } $1 == part { print n }' <<<"$table"; }
is_pure() { awk -v part="$1" '$1 == part && $2 == "pure" { found = 1 } END { exit !found }' <<<"$table"; }
is_listed() { [[ " $2 " == *" $1 "* ]]; }

# FILE PART HEADER: may a file of the part use this header of another part?
check_narrow() {
    local allowed
    allowed=$(awk -v who="$2" -v of="${3%%/*}" '$1 == who && $2 == of { $1 = $2 = ""; print }' <<<"$narrow")
    [[ -z $allowed && $2 != cli ]] || is_listed "$3" "$allowed" ||
        fail "$1: $2 must not include $3"
}

# FILE PART HEADER (a path below src/)
check_part() {
    local own theirs
    own=$(rank "$2")
    theirs=$(rank "${3%%/*}")
    [[ -f src/$3 || $3 == control/version.h ]] || fail "$1: there is no header $3"
    [[ -n $theirs ]] || fail "$1: $3 belongs to no part of the table"
    [[ $2 == cli ]] || ((${theirs:-0} <= own)) || fail "$1: $2 is below ${3%%/*} and must not include $3"
    if is_pure "$2" && ! is_listed "${1#src/}" "$system_list"; then
        case $3 in
        base/clock.h | base/reactor.h) fail "$1: $2 is pure and must not include $3" ;;
        esac
    fi
    [[ $2 == "${3%%/*}" ]] || check_narrow "$1" "$2" "$3"
}

# FILE PART HEADER (between angle brackets)
check_system() {
    is_pure "$2" || return 0
    is_listed "${1#src/}" "$system_list" || is_listed "${3%.h}" "$pure_headers" ||
        fail "$1: $2 is pure and must not include <$3>"
}

# FILE PART
check_file() {
    local line
    while read -r line; do
        checked=$((checked + 1))
        case $line in
        '"'*/*) check_part "$1" "$2" "${line//\"/}" ;;
        '<'*) line=${line#<}; check_system "$1" "$2" "${line%%>*}" ;;
        '"'*) [[ $2 == cli ]] || fail "$1: $line must be named with its part" ;;
        *) fail "$1: cannot read: #include $line" ;;
        esac
    done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/p' "$1")
}

system_list=
for file in $system_files; do
    system_list+=" $file.c $file.h"
done

for folder in src/*/; do
    part=${folder#src/}
    part=${part%/}
    [[ -n $(rank "$part") ]] || fail "$folder: the part stands in no table"
    for file in "$folder"*.[ch]; do
        check_file "$file" "$part"
    done
done
for file in cli/*.[ch]; do
    check_file "$file" cli
done

# The table is the one that the build uses.
build=$(sed -nE "s/^foreach part : \[(.*)\]$/\1/p" src/meson.build | tr -d "',")
known=$(awk 'NF { print $1 }' <<<"$table")
last=0
for part in $build; do
    place=$(rank "$part")
    ((${place:-0} > last)) || fail "src/meson.build: $part is out of order, or unknown here"
    last=${place:-$last}
done

((checked > 200)) || fail "only $checked #include lines were found: nothing was tested"
echo "$checked #include lines of $(wc -w <<<"$known") parts, $failures wrong"
exit $((failures > 0))
