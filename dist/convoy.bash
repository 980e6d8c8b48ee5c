# Completion of convoy(1) for bash. The names of ports are asked from the running daemon.
_convoy_ports()
{
    convoy port list 2>/dev/null | awk 'NR > 1 && $1 != "There" { print $1 }'
}

_convoy()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word
    local words=()

    # "key=value" comes as three words, since = breaks them.
    case $previous in
    --print | -p) COMPREPLY=($(compgen -W 'qemu libvirt uml cloud-hypervisor' -- "$current")); return ;;
    --socket | -s) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --memory | -m) return ;;
    esac
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || words+=("$word")
    done
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W '--socket --json --print --memory --help --version' -- "$current"))
        return
    fi
    case "${words[*]}" in
    '') COMPREPLY=($(compgen -W 'status port mac' -- "$current")) ;;
    port) COMPREPLY=($(compgen -W 'list show add remove set' -- "$current")) ;;
    mac) COMPREPLY=($(compgen -W 'list add remove' -- "$current")) ;;
    'port show' | 'port remove' | 'port set' | 'mac list' | 'mac add '*)
        COMPREPLY=($(compgen -W "$(_convoy_ports)" -- "$current")) ;;
    'port set '*) compopt -o nospace; COMPREPLY=($(compgen -W 'hold=' -- "$current")) ;;
    'port add '*)
        compopt -o nospace
        COMPREPLY=($(compgen -W 'type= socket= mode= queues= mac= mtu= hold= when-full= offloads=
            mergeable= interface= bridge=' -- "$current")) ;;
    esac
}

complete -F _convoy convoy
