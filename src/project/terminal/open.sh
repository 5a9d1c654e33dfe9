#!/bin/sh
# Opens files and directories in the browser that shows this terminal.
# usage: open PATH...

home=@HOME@

if [ $# -eq 0 ] || [ "$1" = "-h" ] || [ "$1" = "--help" ]; then
    echo "usage: open PATH..."
    echo "Opens files and directories in the browser. Files that do not exist are created. At most 15 at a time."
    [ $# -gt 0 ]
    exit
fi
if [ $# -gt 15 ]; then
    echo "open: at most 15 paths at a time" >&2
    exit 1
fi
if [ ! -d "$COCALC_CONTROL_DIR" ]; then
    echo "open: works only in a terminal of the browser" >&2
    exit 1
fi

# The text of $1 as a JSON string, into $quoted.
quote() {
    rest=$1
    quoted='"'
    while [ -n "$rest" ]; do
        tail=${rest#?}
        char=${rest%"$tail"}
        rest=$tail
        case $char in
        '"' | \\) quoted=$quoted\\$char ;;
        [[:cntrl:]]) quoted=$quoted$(printf '\\u%04x' "'$char") ;;
        *) quoted=$quoted$char ;;
        esac
    done
    quoted=$quoted'"'
}

# The absolute path $1 as the browser knows it, into $shown.
show() {
    for root in "$home" "$(cd -P -- "$home" 2>/dev/null && pwd -P)"; do
        case $1 in
        "$root") shown=; return ;;
        "${root%/}"/*) shown=${1#"${root%/}"/}; return ;;
        esac
    done
    shown=.smc/root$1
}

paths=
for path in "$@"; do
    if [ -d "$path" ]; then
        kind=directory
        full=$(cd -- "$path" && pwd; echo .) || exit 1
        full=${full%??}
    else
        kind=file
        if [ ! -e "$path" ]; then
            : >"$path" || exit 1
        fi
        case $path in
        */*) parent=${path%/*}/ ;;
        *) parent=./ ;;
        esac
        full=$(cd -- "$parent" && pwd; echo .) || exit 1
        full=${full%??}
        full=${full%/}/${path##*/}
    fi
    show "$full"
    quote "$shown"
    paths=$paths${paths:+,}"{\"$kind\":$quoted}"
done

time=$(date +%s%N 2>/dev/null)
case $time in
'' | *[!0-9]*) time=$(date +%s)000000000 ;;
esac
[ ${#time} -ge 19 ] || time=${time}000000000
random=$(od -An -N8 -tx1 /dev/urandom 2>/dev/null | tr -d ' \n')
name=$time-$$-${random:-0}
printf '%s\n' "{\"event\":\"open\",\"paths\":[$paths]}" >"$COCALC_CONTROL_DIR/.$name" &&
    mv -- "$COCALC_CONTROL_DIR/.$name" "$COCALC_CONTROL_DIR/$name.json"
