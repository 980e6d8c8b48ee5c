#!/bin/bash
# Format and static analysis: lint.sh BUILD_FOLDER [format|cppcheck|tidy|shell|man]...
# BUILD_FOLDER has the compile_commands.json. Prints what is wrong; exit status 1 if anything is.
set -u

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
build=$1
shift
(($#)) || set -- format shell man cppcheck tidy
status=0

c_files() { find src cli front bench tests \( -name '*.c' -o -name '*.h' \) -print; }
scripts() { grep -rlE '^#!/bin/bash|shellcheck shell=bash' check demo study tools tests bench .ci 2>/dev/null; }

for step in "$@"; do
    echo "lint: $step"
    case $step in
    format) c_files | xargs clang-format --dry-run --Werror || status=1 ;;
    # SC2317: functions that are called by name look unreachable to it.
    shell) scripts | xargs shellcheck -x -e SC2317 || status=1 ;;
    man)
        for page in man/*.[1-9]; do
            mandoc -T lint -W warning "$page" || status=1
        done
        ;;
    cppcheck)
        cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j2 -I src -I front -I tests -I tests/lib \
            --enable=warning,performance,portability --suppress=missingIncludeSystem \
            --suppress=normalCheckLevelMaxBranches --suppress=preprocessorErrorDirective \
            src cli front bench tests/lib || status=1
        ;;
    tidy)
        find src cli front bench -name '*.c' -print0 |
            xargs -0 -n 4 -P 2 clang-tidy --quiet -p "$build" --warnings-as-errors='*' 2>/dev/null || status=1
        ;;
    *) echo "lint: unknown step $step" >&2 && exit 2 ;;
    esac
done
exit $status
