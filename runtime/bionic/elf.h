#pragma once
#include <linux/elf.h>
