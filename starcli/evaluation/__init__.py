"""How good a network is: losses, accuracies, calibration, with BatchNorm statistics treated alike."""
