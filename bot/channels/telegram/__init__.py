"""Telegram: one bot, private chats only."""
