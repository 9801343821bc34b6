"""The experiments of "Do Deep Neural Network Solutions Form a Star Domain?", and the record of what they gave."""
