"""The shape of the loss: spectra, scaling, transitions, simplicity."""
