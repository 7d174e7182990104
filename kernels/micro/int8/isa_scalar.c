/* One number at a time: the meaning of the other tables, and the fallback on any CPU. */
#define VL 1
#define LEVEL scalar
#include "table.h"
