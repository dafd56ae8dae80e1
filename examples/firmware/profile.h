/* Included before every source (gcc -include): tells the network what to do around each node. */
#ifndef PROFILE_H
#define PROFILE_H

void profile_begin(void);
void profile_end(unsigned node);

#define NET_NODE_BEGIN(i) profile_begin()
#define NET_NODE_END(i) profile_end(i)

#endif /* PROFILE_H */
