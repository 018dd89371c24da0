# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion of pmxcfsctl, which knows its commands and options itself.

_pmxcfsctl() {
    local candidate
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [ "$candidate" = :files ]; then
            compopt -o default
        else
            COMPREPLY+=("$candidate")
        fi
    done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _pmxcfsctl pmxcfsctl
