/* glibc resolves names by the modules that /etc/nsswitch.conf names, and a static program loads them from the disk: of
 * another release than its own they crash it, and in an image made from nothing there are none. `files` and `dns` are built
 * in since 2.34, so those are what is asked, as musl does. */
#include <nss.h>

#if !__GLIBC_PREREQ(2, 34)
#error "building charon-dkg needs glibc 2.34 or newer (Debian 12, Ubuntu 22.04); a release runs everywhere"
#endif

__attribute__((constructor)) static void ask_built_in_modules(void) {
  __nss_configure_lookup("hosts", "files dns");
  __nss_configure_lookup("passwd", "files");
}
