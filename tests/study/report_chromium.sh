#!/bin/bash
# Goal: the report can be read in a browser: light and dark, on a wide and on a narrow screen, without a
# network. Method: a report of made-up points is opened in headless Chromium, which reaches no host; a
# script that only this test puts into its copy measures what is laid out, and leaves what it found in
# the page, which --dump-dom prints. Screenshots of both themes must differ, and must not be blank.
#   report_chromium.sh      exit status 77: there is no chromium
set -u

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
command -v chromium >/dev/null || { echo "skipped: chromium is not installed"; exit 77; }

LIMIT_S=90 # of one look at the page
dir=$(mktemp -d /tmp/convoy-report.XXXXXX)
trap 'rm -rf "$dir"' EXIT
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# THEME (light or dark) WIDTH,HEIGHT WORD...: looks at the page with more options of Chromium
look() {
    local theme=1 # of Blink: 0 dark, 1 light
    [[ $1 == dark ]] && theme=0
    timeout -k 5 "$LIMIT_S" chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --user-data-dir="$dir/profile" --host-resolver-rules='MAP * ~NOTFOUND' --hide-scrollbars \
        --blink-settings=preferredColorScheme=$theme --window-size="$2" "${@:3}" 2>>"$dir/log"
}

# What the script in the page found: one line NAME=VALUE each, taken from the page that Chromium prints.
found() { sed -n 's/.*<pre id="found">//; /=/{s/<\/pre>.*//; p}' "$1" | grep -E "^$2=" | cut -d= -f2-; }

# FILE NAME VALUE: what was found must be this
expect() {
    local value
    value=$(found "$1" "$2")
    [[ $value == "$3" ]] || fail "$(basename "$1"): $2 is \"$value\", and should be \"$3\""
}

cat >"$dir/script" <<'END'
<script>
addEventListener('load', () => {
  const texts = [...document.querySelectorAll('svg text')], outside = [], crossed = [], small = [];
  const name = text => text.closest('figure').id + ' "' + text.textContent + '"';
  const boxes = new Map(texts.map(text => [text, text.getBBox()]));
  for (const svg of document.querySelectorAll('svg')) {
    const area = svg.viewBox.baseVal, own = [...svg.querySelectorAll('text')];
    own.forEach((text, index) => {
      const box = boxes.get(text);
      if (box.x < area.x - 1 || box.y < area.y - 1 || box.x + box.width > area.x + area.width + 1 ||
          box.y + box.height > area.y + area.height + 1) outside.push(name(text));
      if (parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / area.width < 9)
        small.push(name(text));
      for (const other of own.slice(index + 1)) {
        const next = boxes.get(other);
        if (box.x + 1 < next.x + next.width && next.x + 1 < box.x + box.width &&
            box.y + 3 < next.y + next.height && next.y + 3 < box.y + box.height)
          crossed.push(name(text) + ' and ' + name(other));
      }
    });
  }
  const empty = [...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().height < 60);
  const root = document.documentElement, pre = document.createElement('pre');
  pre.id = 'found';
  pre.textContent = [
    '', 'svgs=' + document.querySelectorAll('svg').length, 'sections=' + document.querySelectorAll('section').length,
    'texts=' + texts.length, 'outside=' + outside.join('; '), 'crossed=' + crossed.join('; '),
    'small=' + small.join('; '), 'empty=' + empty.length, 'sideways=' + Math.max(0, root.scrollWidth - root.clientWidth),
    'requests=' + performance.getEntriesByType('resource').map(entry => entry.name).join(' '),
    'back=' + getComputedStyle(document.body).backgroundColor, 'ink=' + getComputedStyle(document.querySelector('svg .head')).fill, ''
  ].join('\n');
  document.body.prepend(pre);
});
</script>
END

if ! python3 made_up.py "$dir" || ! (cd ../../bench && python3 -m study.report "$dir"); then
    fail "there is no report"
fi
plots=$(grep -o '<svg ' "$dir/report.html" | wc -l)
((plots > 30)) || fail "only $plots plots are in the report"
sed "/<\/body>/{
r $dir/script
}" "$dir/report.html" >"$dir/page.html"

for theme in light dark; do
    for width in 1100 380; do
        file=$dir/$theme-$width
        look "$theme" "$width,900" --dump-dom "file://$dir/page.html" >"$file" || fail "$theme, $width: chromium failed"
        expect "$file" svgs "$plots"
        expect "$file" sections 11
        expect "$file" outside ""
        expect "$file" crossed ""
        expect "$file" small ""
        expect "$file" empty 0
        expect "$file" sideways 0
        expect "$file" requests ""
    done
done
expect "$dir/light-1100" back "rgb(255, 255, 255)"
expect "$dir/light-1100" ink "rgb(27, 27, 27)"
expect "$dir/dark-1100" back "rgb(22, 24, 28)"
expect "$dir/dark-1100" ink "rgb(232, 232, 232)"
texts=$(found "$dir/light-1100" texts)
((${texts:-0} > 500)) || fail "only ${texts:-no} texts are in the plots: nothing was looked at"

# A blank page of that size is a few kilobytes.
for theme in light dark; do
    look "$theme" 1100,6000 --screenshot="$dir/$theme.png" "file://$dir/report.html" || fail "$theme: no screenshot"
    size=$(stat -c %s "$dir/$theme.png" 2>/dev/null)
    ((${size:-0} > 100000)) || fail "the screenshot, $theme, has ${size:-0} bytes: is it blank?"
done
cmp -s "$dir/light.png" "$dir/dark.png" && fail "light and dark look the same"

# A plot alone, as the README shows it.
(cd ../../bench && python3 -m study.report "$dir" --plot 7-frontier --svg "$dir/plot.svg") || fail "there is no plot"
for theme in light dark; do
    look "$theme" 840,460 --screenshot="$dir/plot-$theme.png" "file://$dir/plot.svg" || fail "$theme: no plot"
    size=$(stat -c %s "$dir/plot-$theme.png" 2>/dev/null)
    ((${size:-0} > 15000)) || fail "the plot alone, $theme, has ${size:-0} bytes: is it blank?"
done
cmp -s "$dir/plot-light.png" "$dir/plot-dark.png" && fail "the plot alone is the same in light and dark"

((failures)) && tail -n 5 "$dir/log"
echo "$plots plots with ${texts:-0} texts, light and dark, wide and narrow: $failures wrong"
exit $((failures > 0))
