dpdk_hugepages_teardown(){ :; }
