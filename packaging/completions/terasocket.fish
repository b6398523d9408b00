# fish completion for terasocket: the program itself answers.
function __complete_terasocket
    set -lx COMP_LINE (commandline -cp)
    /usr/bin/terasocket
end
complete -c terasocket -a "(__complete_terasocket)"
