#!/bin/bash
# Runs libFuzzer targets one after the other, each for a bounded time.
#   run.sh SECONDS CORPUS_FOLDER SCRATCH_FOLDER FUZZER...
# Starts from the seeds in CORPUS_FOLDER/NAME; what it finds stays in SCRATCH_FOLDER/NAME, and an
# input that fails is SCRATCH_FOLDER/NAME-crash-... CONVOY_FUZZ_SECONDS overrides SECONDS.
set -u

seconds=${CONVOY_FUZZ_SECONDS:-$1}
corpus=$2
scratch=$3
shift 3

for fuzzer in "$@"; do
    name=${fuzzer##*/fuzz_}
    mkdir -p "$scratch/$name" || exit 1
    echo "fuzz $name: $seconds s"
    if ! timeout -k 5 $((seconds + 60)) "$fuzzer" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$scratch/$name-" \
        "$scratch/$name" "$corpus/$name"; then
        echo "fuzz $name: FAILED; the input is in $scratch" >&2
        exit 1
    fi
done
