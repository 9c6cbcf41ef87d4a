/* What a sanitizer is told, linked into the programs so that no environment can take it from them: some
 * of their tests give them none.
 *
 * Reports go to files, as the output of a program that a test expects to fail may be looked at by nobody.
 * The directories are the Makefile's. */
#define OPTIONS "log_path=" REPORTS "/report:exitcode=66"

const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return OPTIONS ":detect_leaks=1";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void) {
    return "suppressions=" SUPPRESSIONS "/leaks.supp:print_suppressions=0";
}

/* It goes on after a report: the next one may be of another matter. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return OPTIONS ":suppressions=" SUPPRESSIONS "/thread.supp:halt_on_error=0:print_suppressions=0";
}
