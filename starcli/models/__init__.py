"""Networks by name, and their parameters in one vector.

registry/architectures.py names the architectures that are here, a file each (mlp.py, resnet.py, ...). Beside them:

build.py         a network of any name; arguments.py: what its arguments may be; from_data.py: which of them data decide
external.py      code of others and the user's own by name; huggingface.py: classes of transformers
inputs.py        what a network without data takes; logits.py: what any network returns
flat_network.py  all parameters in one vector, for points between networks
state_dicts.py   what tensors of a file are to a network; outside_state.py: what a network has besides
"""
