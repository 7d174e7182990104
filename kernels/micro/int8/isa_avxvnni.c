/* AVX2 with the VEX form of vpdpbusd (Alder Lake and its small cores, Sierra Forest). */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,avxvnni")
#define VL 8
#define HAVE_DOT 1
#define DOT "%{vex%} vpdpbusd"
#define LEVEL avxvnni
#include "table.h"
#else
typedef int tn_empty_int8_avxvnni;
#endif
