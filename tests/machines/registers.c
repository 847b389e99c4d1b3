/*
 * Let user-mode Linux run on a processor with more registers than it knows. It is preloaded.
 *
 * User-mode Linux keeps the extended registers of its processes in 2696 bytes, and ptrace(2) sets
 * all of them or none: with AMX, which has 11008 bytes, it fails with EFAULT. Here, the registers
 * that it does not know keep their values.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char registers[1 << 16]; /* too large for the stack of a kernel */

static long set_registers(long pid, const struct iovec *known)
{
	struct iovec all = { registers, sizeof registers };
	if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all) != 0)
		return -1;
	memcpy(registers, known->iov_base, known->iov_len < all.iov_len ? known->iov_len : all.iov_len);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all);
}

/* A signal can switch to another process of user-mode Linux, which uses the same memory. */
static long set_registers_undisturbed(long pid, const struct iovec *known)
{
	unsigned long every = ~0UL, before;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &every, &before, sizeof every);
	long result = set_registers(pid, known);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
	return result;
}

/* As in the C library, a request for a word returns it. */
long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	long pid = va_arg(arguments, int), word = 0;
	void *address = va_arg(arguments, void *), *data = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return set_registers_undisturbed(pid, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, address, data);
	return syscall(SYS_ptrace, request, pid, address, &word) < 0 ? -1 : word;
}
