#pragma once

/// The package manager gives every executable's main function a name of its own and makes that the program's entry; this
/// one hands over to libFuzzer, in builds with the flag WEFT_FUZZ.
int weft_fuzz_main(int count, char **arguments);
