// Loads a shared library with Go code and calls its `say_ranges`.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	if (!library) {
		fprintf(stderr, "cannot load the library: %s\n", dlerror());
		return 1;
	}
	void (*say_ranges)(void) = (void (*)(void))dlsym(library, "say_ranges");
	if (!say_ranges) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	say_ranges();
	return 0;
}
