"""The commands of `starcli`, one file each; what a command does is one function of a folder beside `cli/`."""
