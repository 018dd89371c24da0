# SPDX-License-Identifier: GPL-3.0-or-later
# bash completion of pmxcfsctl, which knows its commands and options itself.

_pmxcfsctl() {
    # The word as it is written may have backslashes; what is offered gets them where the shell needs them.
    local candidate word=${COMP_WORDS[COMP_CWORD]//\\/}
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        if [ "$candidate" = :files ]; then
            compopt -o default
        else
            printf -v candidate %q "$candidate"
            COMPREPLY+=("$candidate")
        fi
    done < <("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$word" 2>/dev/null)
}

complete -F _pmxcfsctl pmxcfsctl
