<?php
// A menu whose entry contains itself: the functions call each other until the stack runs out.

namespace Shop;

final class Menu
{
    /** @var list<Menu> */
    public array $children = [];

    public function render(): string
    {
        return '<ul>' . implode('', array_map([$this, 'item'], $this->children)) . '</ul>';
    }

    public function item(Menu $child): string
    {
        return '<li>' . $child->render() . '</li>';
    }
}

$menu = new Menu();
$menu->children[] = $menu;
echo $menu->render();
