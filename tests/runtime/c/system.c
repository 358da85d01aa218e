/* Counts the big cores of a system that the test has written down: system COUNT */
#include <system.c>

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; count > 1 && cpu < atoi(arguments[1]); cpu++) CPU_SET((size_t)cpu, &set);
    int32_t kept = keep_big(&set);
    printf("%d:", kept);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &set)) printf(" %d", cpu);
    return 0;
}
