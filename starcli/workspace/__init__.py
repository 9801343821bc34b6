"""What the models, data and flags of one command agree on, and the plan of a file to be made.

workspace.py       network, data, spec and device of a command; begin here. choices.py: what flags or keywords say
agreement.py       checkpoints against each other and the network
architecture.py    the network; data.py: the data; given.py: both in memory
opening.py         data to measure on; source_data.py: each source's own; trained_on.py: those a model is trained on
new_heads.py       a model for other data; first_run.py: whether a network takes the data at all
directories.py     folders of Hugging Face; names_of_others.py: tensors under other names
plan.py            what a file is made from; stamp.py: what a result rests on
spec_report.py     what `spec` reports, on the network of spec_network.py; spec_files.py: specs by themselves
data_notes.py, directory_notes.py, training_notes.py     notes on all this
"""
