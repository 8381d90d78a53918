//! Criterion benches (`benches/`) and scripts that compare Sallyport with its peers.
