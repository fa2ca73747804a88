# SPDX-License-Identifier: Apache-2.0
# bash completion for mrleasectl. The program itself knows its words.
_mrleasectl() {
  local word index
  for ((index = 1; index < COMP_CWORD; index++)); do
    if [[ ${COMP_WORDS[index]} == -- ]]; then  # freeze FILE -- COMMAND ...
      declare -F _command_offset > /dev/null && _command_offset $((index + 1))
      return
    fi
  done
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
}
complete -o default -F _mrleasectl mrleasectl
