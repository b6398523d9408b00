# bash completion for terasocket: the program itself answers.
complete -o default -o bashdefault -C /usr/bin/terasocket terasocket
