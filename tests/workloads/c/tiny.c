// A function that does next to nothing, in a shared library.
int tiny(int number);
int tiny(int number) { return number + 1; }
