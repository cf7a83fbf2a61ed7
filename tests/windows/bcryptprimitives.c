/* Rust's standard library takes random numbers from ProcessPrng (Windows 10 and newer), which Wine before 8.17 does not
   have. This stands in for it, under Wine alone: the same numbers by the older name. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return RtlGenRandom(data, (ULONG)length);
}
